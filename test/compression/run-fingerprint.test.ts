import { expect, test } from 'vitest';
import { modelHash } from '../../src/compression/run-fingerprint.js';
import { LlamaModel } from '../../src/models/llama/model.js';
import { memoryCheckpoint } from '../models/llama/memory-checkpoint.js';

test('the hash of a model knows every value of every tensor', () => {
  const checkpoint = memoryCheckpoint();
  const model = new LlamaModel(checkpoint);
  const hash = modelHash(model);
  for (const values of checkpoint.values.values()) {
    for (const at of [0, values.length >> 1, values.length - 1]) {
      const value = values[at] as number;
      values[at] = value + 1;
      expect(modelHash(model)).not.toBe(hash);
      values[at] = value;
    }
  }
  expect(modelHash(model)).toBe(hash);
});
