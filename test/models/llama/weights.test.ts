import { expect, test } from 'vitest';
import { Compute } from '../../../src/linalg/compute.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import { firstNonFinite } from '../../../src/linalg/finite.js';
import { LlamaModel } from '../../../src/models/llama/model.js';
import { newBlockWeights } from '../../../src/models/llama/weights.js';
import { errorOf } from '../../formats/expect-error.js';
import { memoryCheckpoint, smallConfig } from './memory-checkpoint.js';

test('the memory of a block takes the next one', () => {
  const model = new LlamaModel(memoryCheckpoint());
  const weights = newBlockWeights(model.config);
  expect(model.readBlock(2, weights)).toBe(weights);
  expect(weights).toEqual(model.readBlock(2));
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('%f in a weight is named', (bad) => {
  const checkpoint = memoryCheckpoint();
  const name = 'model.layers.1.mlp.gate_proj.weight';
  checkpoint.values.get(name)![2 * 24 + 5] = bad;
  const model = new LlamaModel(checkpoint);
  model.readBlock(0);
  const error = errorOf(() => model.readBlock(1), 'non-finite-value');
  expect(error.data).toMatchObject({ name, row: 2, column: 5 });
});

test('firstNonFinite looks at every entry', () => {
  for (const length of [0, 1, 4095, 4096, 10_000]) expect(firstNonFinite(new Float32Array(length).fill(3e38))).toBe(-1);
  for (const at of [0, 4095, 4096, 9_999]) {
    const values = new Float32Array(10_000).fill(3e38);
    values[at] = Number.NaN;
    expect(firstNonFinite(values)).toBe(at);
    values[at] = Number.NEGATIVE_INFINITY;
    expect(firstNonFinite(values)).toBe(at);
  }
});

test('a tied head that was saved with other values is refused', () => {
  const checkpoint = memoryCheckpoint();
  const tied = { ...checkpoint, config: { ...smallConfig, tie_word_embeddings: true } };
  const model = new LlamaModel(tied);
  errorOf(() => model.readHead(), 'file-malformed');
  checkpoint.values.set('lm_head.weight', checkpoint.values.get('model.embed_tokens.weight')!);
  expect(model.readHead().projection).toEqual(model.readEmbedding());
});

test('ids outside of the vocabulary are refused', () => {
  const model = new LlamaModel(memoryCheckpoint());
  const compute = new Compute(createEngine('wasm'));
  for (const bad of [50, -1, 1.5]) {
    const error = errorOf(() => model.logits([1, bad], compute), 'option-out-of-range');
    expect(error.data).toMatchObject({ id: bad, position: 1, vocabularySize: 50 });
  }
});
