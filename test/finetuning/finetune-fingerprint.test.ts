import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { LoadedWindows } from '../../src/calibration/load-windows.js';
import { finetuneFingerprint } from '../../src/finetuning/finetune-fingerprint.js';
import { finetuneOptionsSchema } from '../../src/finetuning/finetune-options.js';
import { SafetensorsFile } from '../../src/formats/safetensors/reader.js';
import { chooseEngine } from '../../src/linalg/engines/select.js';
import { openModel } from '../../src/models/llama/open-model.js';
import { root } from '../cli/run-dsf.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { writeCrudeModel } from './compressed-model.js';

const folder = temporaryFolder();
const dense = join(root, 'models/sotu-m');
const [one, other] = [join(folder, 'one'), join(folder, 'other')];
beforeAll(() => {
  for (const path of [one, other]) writeCrudeModel(dense, path);
});

const texts = { training: { hash: 'text' } as LoadedWindows };
const options = finetuneOptionsSchema.parse({ batch: 2 });
const choice = chooseEngine('wasm');

function fingerprint(model: string, teacher?: string, threads = 2) {
  const [own, theirs] = [openModel(model), teacher === undefined ? undefined : openModel(teacher)];
  const result = finetuneFingerprint(own, theirs, texts, options, choice, threads);
  own.checkpoint.close();
  theirs?.checkpoint.close();
  return result;
}

/** Turns a bit of the middle byte of a tensor. @returns what turns it back. */
function damage(path: string, name: RegExp): () => void {
  const file = join(path, 'model.safetensors');
  const before = readFileSync(file);
  const reader = new SafetensorsFile(file);
  const [, { begin, end }] = [...reader.header.tensors].find(([own]) => name.test(own))!;
  reader.close();
  const bytes = Buffer.from(before);
  bytes[begin + 2 * Math.floor((end - begin) / 4)]! ^= 1;
  writeFileSync(file, bytes);
  return () => writeFileSync(file, before);
}

describe('the fingerprint', () => {
  it('is that of the bytes', () => {
    expect(fingerprint(one, one)).toEqual(fingerprint(other, other));
  });

  it.each([/embed_tokens/, /layers\.3\.input_layernorm/, /qkv_proj\.B\.values/, /down_proj\.weight/])(
    'sees every tensor of the model and of its teacher: %s',
    (name) => {
      const before = fingerprint(one, one);
      const restore = damage(one, name);
      const after = fingerprint(one, one);
      restore();
      expect(after.model).not.toBe(before.model);
      expect(after.teacher).not.toBe(before.teacher);
    },
  );

  it('sees supports that do not change a product', () => {
    const before = fingerprint(one).model;
    const restore = damage(one, /qkv_proj\.A\.bitmask/);
    expect(fingerprint(one).model).not.toBe(before);
    restore();
  });

  it('tells numbers of threads apart where sums are formed in another way', () => {
    expect(fingerprint(one, undefined, 2).parallelism).toEqual([2, 1]);
    expect(fingerprint(one, undefined, 3).parallelism).toEqual([2, 1]);
    expect(fingerprint(one, undefined, 4).parallelism).toEqual([2, 2]);
  });
});
