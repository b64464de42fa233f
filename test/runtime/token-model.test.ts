import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Compute } from '../../src/linalg/compute.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import type { Matrix } from '../../src/linalg/matrix.js';
import { openModel } from '../../src/models/llama/open-model.js';
import { loadTokenModel, type RuntimeOptions } from '../../src/runtime/load-model.js';

const golden = join(import.meta.dirname, '../models/golden');
const models = [
  'llama-linear-rope-biases',
  'llama3-rope',
  'mistral-sliding-window',
  'qwen2-mixed-windows',
  'qwen3',
] as const;

/** fp32 sums in another order, relative to the largest logit. */
const tolerance = 1e-5;

const compute = new Compute(createEngine('wasm'));
function oracle(path: string, ids: readonly number[]): Matrix {
  const model = openModel(path);
  const logits = model.logits(ids, compute);
  model.checkpoint.close();
  return logits;
}

function expectRow(actual: Float32Array, logits: Matrix, row: number): void {
  const expected = logits.data.subarray(row * logits.columns, (row + 1) * logits.columns);
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - (expected[i] as number))), 0);
  expect(worst / scale, `position ${row}`).toBeLessThan(tolerance);
}

const open: { close(): Promise<void> }[] = [];
async function load(path: string, options: RuntimeOptions = {}) {
  const loaded = await loadTokenModel(path, { threads: 2, engine: 'wasm', ...options });
  open.push(loaded.model);
  loaded.checkpoint.close();
  return loaded.model;
}
afterAll(() => Promise.all(open.map((model) => model.close())));

describe.each(models)('%s', (name) => {
  const path = join(golden, name);
  const ids = Array.from({ length: 40 }, (_, i) => (i * 37 + 5) % 60);
  const logits = oracle(path, ids);

  it.each([
    { threads: 1, chunk: 256 },
    { threads: 2, chunk: 8 },
    { threads: 3, chunk: 5 },
  ])('has the logits of the dense forward pass, $threads threads, chunks of $chunk', async (options) => {
    const model = await load(path, { ...options, capacity: 48 });
    for (const row of [0, 1, 2, 3]) expectRow(await model.extend([ids[row] as number]), logits, row);
    expectRow(await model.extend(ids.slice(4, 7)), logits, 6);
    expectRow(await model.extend(ids.slice(7, 31)), logits, 30);
    const all = await model.extendAll(ids.slice(31));
    for (let row = 31; row < 40; row++)
      expectRow(all.data.subarray((row - 31) * all.columns, (row - 30) * all.columns), logits, row);
    expect(model.position).toBe(40);
  });

  it('goes on from where it was truncated, or says that it cannot', async () => {
    const model = await load(path, { capacity: 48, chunk: 8 });
    await model.extend(ids);
    try {
      model.truncate(36);
      expectRow(await model.extend(ids.slice(36, 38)), logits, 37);
    } catch (error) {
      expect(error).toMatchObject({ code: 'option-out-of-range' });
    }
    model.truncate(0);
    expectRow(await model.extend(ids.slice(0, 9)), logits, 8);
  });
});

describe('a token model', () => {
  const path = join(golden, 'llama3-rope');

  it('rejects ids outside of the vocabulary, no ids, and more than the cache holds, and goes on', async () => {
    const model = await load(path, { capacity: 4 });
    await expect(model.extend([1e6])).rejects.toMatchObject({ code: 'option-out-of-range' });
    await expect(model.extend([])).rejects.toMatchObject({ code: 'option-out-of-range' });
    await expect(model.extend([1, 2, 3, 4, 5])).rejects.toMatchObject({ code: 'option-out-of-range' });
    expect(() => model.truncate(1)).toThrow(expect.objectContaining({ code: 'option-out-of-range' }));
    expectRow(await model.extend([1, 2, 3, 4]), oracle(path, [1, 2, 3, 4]), 3);
  });

  it('takes calls one after the other', async () => {
    const model = await load(path, { capacity: 8 });
    const calls = [1, 2, 3].map((id) => model.extend([id]).then((logits) => logits.slice()));
    const logits = oracle(path, [1, 2, 3]);
    for (const [row, result] of (await Promise.all(calls)).entries()) expectRow(result, logits, row);
  });

  it('rejects calls after it is closed', async () => {
    const model = await load(path, { capacity: 8 });
    await model.close();
    await expect(model.extend([1])).rejects.toMatchObject({ code: 'worker-failed' });
  });
});
