import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { afterAll, expect, test } from 'vitest';
import { decodeFloats, encodeFloats, isFloatType } from '../../../src/formats/dtype.js';
import { openCheckpoint } from '../../../src/formats/open-checkpoint.js';
import { SafetensorsFile } from '../../../src/formats/safetensors/reader.js';
import '../../helpers.js';
import { errorOf } from '../expect-error.js';

// A model written by the gguf package of Python, its weights before permutation, and ids of sentencepiece:
// golden/make_goldens.py.
const golden = (name: string): string => join(import.meta.dirname, '../golden', name);
const checkpoint = openCheckpoint(golden('tiny-llama.gguf'));
const expected = new SafetensorsFile(golden('tiny-llama.safetensors'));
afterAll(() => {
  checkpoint.close();
  expected.close();
});

test('tensors have their Hugging Face names and shapes', () => {
  expect([...checkpoint.tensors.keys()].sort()).toEqual([...expected.header.tensors.keys()].sort());
  for (const [name, { shape }] of checkpoint.tensors) expect(shape, name).toEqual(expected.tensor(name).shape);
});

test.each([...expected.header.tensors.keys()])('%s has its values, rows in the order of Hugging Face', (name) => {
  const { data } = expected.readMatrix(name);
  // Quantised tensors are read as fp16, as every export stores them.
  if (!isFloatType(checkpoint.tensors.get(name)?.dtype ?? '')) {
    const bytes = new Uint8Array(2 * data.length);
    encodeFloats('F16', data, bytes);
    decodeFloats('F16', bytes, data);
  }
  expect(checkpoint.read(name).data).toHaveSameBits(data);
});

test('the configuration has the scaling that the table of rotary divisors stands for', () => {
  expect(checkpoint.config).toMatchObject({
    model_type: 'llama',
    hidden_size: 64,
    intermediate_size: 96,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    vocab_size: 512,
    max_position_embeddings: 1024,
    tie_word_embeddings: false,
    rope_theta: 500_000,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
  });
});

test('the tokenizer gives the ids of sentencepiece', () => {
  const { tokenizer, config } = checkpoint.tokenizerFiles();
  expect(config).toMatchObject({ bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>', add_bos_token: true });
  expect(config.chat_template).toBe("{{ messages[0]['content'] }}");
  const encoder = new Tokenizer(tokenizer as never, config as never);
  const samples = JSON.parse(readFileSync(golden('tiny-llama.json'), 'utf8')) as { text: string; ids: number[] }[];
  const encode = (text: string) => encoder.encode(text, { add_special_tokens: false }).ids;
  expect(samples.map(({ text }) => ({ text, ids: encode(text) }))).toEqual(samples);
  expect(encoder.encode('a').ids[0]).toBe(1);
  // Text after an added token begins with a space again, as in llama.cpp and in the tokenizer.json of Llama 2.
  expect(encoder.encode('a<sep>b', { add_special_tokens: false }).tokens).toEqual(['▁a', '<sep>', '▁b']);
});

test('a name that is not there is refused', () => {
  errorOf(() => checkpoint.read('model.layers.2.self_attn.q_proj.weight'), 'unknown-name');
});
