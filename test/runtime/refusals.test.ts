import { expect, test } from 'vitest';
import { loadTokenModel } from '../../src/runtime/load-model.js';
import { rejectionOf } from '../calibration/expect-rejection.js';
import { memoryCheckpoint, smallConfig } from '../models/llama/memory-checkpoint.js';

const options = { threads: 1, engine: 'wasm' } as const;

test('weights beyond 32-bit addresses are refused before any is read', async () => {
  const checkpoint = memoryCheckpoint();
  const name = 'model.embed_tokens.weight';
  checkpoint.tensors.set(name, { ...checkpoint.tensors.get(name)!, bytes: 5 * 2 ** 30 });
  const unread = {
    ...checkpoint,
    read(): never {
      throw new Error('read');
    },
  };
  const error = await rejectionOf(() => loadTokenModel(unread, options), 'out-of-memory');
  expect(error.message).toContain('5.0 GiB');
  expect(error.message).toContain('4 GiB');
  expect(error.data.limit).toBe(2 ** 32);
  expect(error.hint).toContain('compress');
});

test('a tied head that was saved with other values is refused, an equal one is used once', async () => {
  const checkpoint = memoryCheckpoint();
  const config = { ...smallConfig, tie_word_embeddings: true };
  await rejectionOf(() => loadTokenModel({ ...checkpoint, config }, options), 'file-malformed');
  checkpoint.values.set('lm_head.weight', checkpoint.values.get('model.embed_tokens.weight')!);
  const untied = await loadTokenModel(checkpoint, options);
  const tied = await loadTokenModel({ ...checkpoint, config }, options);
  expect(tied.weightBytes).toBeLessThan(untied.weightBytes);
  expect(await tied.model.extend([7])).toEqual(await untied.model.extend([7]));
  await Promise.all([tied.model.close(), untied.model.close()]);
});
