import { readFileSync } from 'node:fs';
import { Tokenizer } from '@huggingface/tokenizers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeFloats, encodeFloats } from '../../../src/formats/dtype.js';
import { GgufCheckpoint } from '../../../src/formats/gguf/checkpoint.js';
import { SafetensorsFile } from '../../../src/formats/safetensors/reader.js';
import { sharedData, smollm2Gguf } from '../../smollm2-fixture.js';
import type { Fixture } from '../../wheel.js';
import '../../helpers.js';

const gguf = smollm2Gguf();
const goldens = sharedData('smollm2/golden.json');
const missing = gguf.reason ?? goldens.reason;
const pathOf = (fixture: Fixture): string => fixture.path as string;
const json = (name: string) => JSON.parse(readFileSync(pathOf(sharedData(name)), 'utf8'));

describe.skipIf(missing !== undefined)(
  `SmolLM2-135M-Instruct as GGUF${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let checkpoint: GgufCheckpoint;
    beforeAll(() => {
      checkpoint = new GgufCheckpoint(pathOf(gguf));
    });
    afterAll(() => checkpoint?.close());

    test('the configuration is that of transformers', () => {
      const { transformers_version: _, pretraining_tp: __, ...expected } = json('smollm2/config.json');
      expect(checkpoint.config).toMatchObject(expected);
    });

    test('the tokenizer is that of transformers, but for the splitting of digits that the file asks for', () => {
      const { pre_tokenizer, ...expected } = json('smollm2/tokenizer.json');
      const { tokenizer } = checkpoint.tokenizerFiles();
      expect(tokenizer).toMatchObject({
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [{ type: 'Digits', individual_digits: true }, pre_tokenizer],
        },
      });
      // As text: a deep comparison of 100k entries takes longer.
      const { pre_tokenizer: _, ...actual } = tokenizer as Record<string, unknown>;
      expect(JSON.stringify(actual) === JSON.stringify(expected)).toBe(true);
    });

    test('texts have the token ids of transformers', { timeout: 60_000 }, () => {
      const { tokenizer, config } = checkpoint.tokenizerFiles();
      const encoder = new Tokenizer(tokenizer as never, config as never);
      const encode = (text: string) => encoder.encode(text, { add_special_tokens: false }).ids;
      const { samples, first16, tokens } = json('smollm2/golden.json');
      for (const { text, ids } of samples) expect(encode(text)).toEqual(ids);
      const name = 'wikitext2/test.txt';
      const ids = encode(readFileSync(pathOf(sharedData(name)), 'utf8'));
      expect(ids.length).toBe(tokens[name]);
      expect(ids.slice(0, 16)).toEqual(first16[name]);
    });

    test.each([3, 15, 27])('weights of block %i are those of the layer files', (block) => {
      const layers = new SafetensorsFile(pathOf(sharedData(`layers/smollm2-block${block}.safetensors`)));
      try {
        for (const name of layers.header.tensors.keys()) {
          if (!name.endsWith('.weight')) continue;
          const { data } = checkpoint.read(name);
          const half = new Uint8Array(data.length * 2);
          encodeFloats('F16', data, half);
          expect(decodeFloats('F16', half), name).toHaveSameBits(layers.readMatrix(name).data);
        }
      } finally {
        layers.close();
      }
    });
  },
);
