import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DoubleSparseError } from '../../../src/errors.js';
import { Compute } from '../../../src/linalg/compute.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import type { Matrix } from '../../../src/linalg/matrix.js';
import { sharedZeros } from '../../../src/linalg/shared-matrix.js';
import { Block } from '../../../src/models/llama/block.js';
import { embed } from '../../../src/models/llama/embedding.js';
import { ForwardPool } from '../../../src/models/llama/forward-pool.js';
import type { HiddenStates } from '../../../src/models/llama/hidden-states.js';
import { LlamaModel } from '../../../src/models/llama/model.js';
import { rotaryTable } from '../../../src/models/llama/rope.js';
import { groupInputSize, type LinearGroup, linearGroups } from '../../../src/models/llama/tensors.js';
import { seededRandom } from '../../helpers.js';
import { memoryCheckpoint } from './memory-checkpoint.js';

const model = new LlamaModel(memoryCheckpoint());
const { config } = model;
const random = seededRandom(1);
const sequences = [20, 33, 7, 20, 11].map((length) =>
  Uint32Array.from({ length }, () => Math.floor(random() * config.vocabularySize)),
);
const embedding = model.readEmbedding();
const states = (): Matrix[] =>
  sequences.map((ids) => {
    const hidden = sharedZeros(ids.length, config.hiddenSize);
    embed(embedding, ids, hidden);
    return hidden;
  });
/** Other hidden states for the same tokens. */
const otherStates = (): Matrix[] =>
  states().map((hidden) => {
    hidden.data.forEach((x, i) => {
      hidden.data[i] = x + 0.2 * Math.sin(i);
    });
    return hidden;
  });
const pool = (threads: number): ForwardPool =>
  new ForwardPool({ config, choice: { name: 'wasm' }, threads, sequences: sequences.length, seqLen: 33 });

const compute = new Compute(createEngine('wasm'));
const rotary = rotaryTable(config.rope, config.headSize, 33);

/** Inputs of all groups in this thread, by the hooks of Block; `hidden` advances. */
function inputsOf(layer: number, hidden: Matrix): Record<LinearGroup, Matrix> {
  const kept: Partial<Record<LinearGroup, Matrix>> = {};
  new Block(compute, config, layer, model.readBlock(layer)).forward(hidden, rotary, {
    onInput: (group, inputs) => {
      kept[group] = { ...inputs, data: inputs.data.slice() };
    },
  });
  return kept as Record<LinearGroup, Matrix>;
}

/** (1/N) sum d x^T, float64. */
function meanProduct(dense: readonly Matrix[], inputs: readonly Matrix[]): Float64Array {
  const n = inputs[0]!.columns;
  const count = inputs.reduce((sum, { rows }) => sum + rows, 0);
  const result = new Float64Array(n * n);
  for (const [s, x] of inputs.entries()) {
    for (let p = 0; p < x.rows; p++) {
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) result[i * n + j]! += (dense[s]!.data[p * n + i]! * x.data[p * n + j]!) / count;
      }
    }
  }
  return result;
}

describe.each([1, 2, 3])('%i threads', (threads) => {
  let workers: ForwardPool;
  beforeAll(() => {
    workers = pool(threads);
  });
  afterAll(() => workers.close());

  test('threads are shared out', () => {
    expect(workers).toMatchObject({ workers: threads, blasThreads: 1 });
  });

  test('advance and losses are those of the logits of this thread', async () => {
    const hidden = states();
    for (let layer = 0; layer < config.layers; layer++) await workers.advance(layer, model.readBlock(layer), hidden);
    const losses = await workers.losses(model.readHead(), hidden, sequences);
    for (const [i, ids] of sequences.entries()) {
      const logits = model.logits(ids, compute);
      const expected = Array.from({ length: ids.length - 1 }, (_, p) => {
        const row = logits.data.subarray(p * logits.columns, (p + 1) * logits.columns);
        return Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[ids[p + 1]!]!;
      });
      expect(losses[i]!).toBeAllclose(expected, { atol: 1e-5 });
    }
  });

  test('gathers the Gram matrices of all inputs, and leaves the states alone', async () => {
    const hidden = states();
    const { grams, crossGrams, positions } = await workers.gather(1, model.readBlock(1), hidden);
    expect(positions).toBe(91);
    expect(crossGrams).toEqual({});
    expect(hidden).toEqual(states());
    const inputs = states().map((each) => inputsOf(1, each));
    for (const group of linearGroups) {
      const x = inputs.map((each) => each[group]);
      expect(x[0]!.columns).toBe(groupInputSize(config, group));
      expect(grams[group]!).toBeAllclose(meanProduct(x, x), { rtol: 1e-5, atol: 1e-5 });
    }
  });

  test('gathers some groups only, and advances on request', async () => {
    const hidden = states();
    const { grams } = await workers.gather(0, model.readBlock(0), hidden, { groups: ['gateUp'], advance: true });
    expect(Object.keys(grams)).toEqual(['gateUp']);
    const advanced = states();
    const x = advanced.map((each) => inputsOf(0, each).gateUp);
    expect(grams.gateUp!).toBeAllclose(meanProduct(x, x), { rtol: 1e-5, atol: 1e-5 });
    for (const [i, each] of hidden.entries()) expect(each).toBeAllclose(advanced[i]!, { atol: 1e-5 });
  });

  test('gives the same bits in batches, and takes their outputs', async () => {
    const [whole, parts, passed] = [states(), states(), states()];
    const inBatches: HiddenStates = {
      *batches(lanes, replace) {
        for (let first = 0; first < parts.length; first += lanes) {
          const hidden = parts.slice(first, first + lanes);
          yield { first, hidden };
          if (replace) for (const [i, each] of hidden.entries()) passed[first + i] = each;
        }
      },
    };
    const options = { dense: states(), advance: true };
    const expected = await workers.gather(0, model.readBlock(0), whole, options);
    const kept = [expected.grams, expected.crossGrams].map((grams) =>
      linearGroups.map((group) => grams[group]?.data.slice() as Float32Array),
    );
    const actual = await workers.gather(0, model.readBlock(0), inBatches, { ...options, dense: states() });
    expect(actual.positions).toBe(expected.positions);
    for (const [i, grams] of [actual.grams, actual.crossGrams].entries())
      for (const [j, group] of linearGroups.entries())
        expect(grams[group]?.data as Float32Array).toHaveSameBits(kept[i]?.[j] as Float32Array);
    for (const [i, each] of passed.entries()) expect(each.data).toHaveSameBits(whole[i]?.data as Float32Array);
  });

  test('cross Gram matrices: dense inputs in the rows; the dense states advance', async () => {
    const hidden = otherStates();
    const dense = states();
    const { grams, crossGrams } = await workers.gather(1, model.readBlock(1), hidden, { dense });
    const advanced = states();
    const d = advanced.map((each) => inputsOf(1, each));
    const x = otherStates().map((each) => inputsOf(1, each));
    for (const group of linearGroups) {
      const own = x.map((each) => each[group]);
      const expected = meanProduct(
        d.map((each) => each[group]),
        own,
      );
      expect(crossGrams[group]!).toBeAllclose(expected, { rtol: 1e-5, atol: 1e-5 });
      expect(grams[group]!).toBeAllclose(meanProduct(own, own), { rtol: 1e-5, atol: 1e-5 });
    }
    for (const [i, each] of dense.entries()) expect(each).toBeAllclose(advanced[i]!, { atol: 1e-5 });
    expect(hidden).toEqual(otherStates());
  });

  test('the same bits every time', async () => {
    const run = async () => {
      const { grams } = await workers.gather(2, model.readBlock(2), states());
      return linearGroups.map((group) => grams[group]!.data.slice());
    };
    const first = await run();
    for (let repeat = 0; repeat < 3; repeat++) expect(await run()).toEqual(first);
  });

  test('what is not finite names block and sequence', async () => {
    const weights = model.readBlock(1);
    const down = weights.linear['mlp.down_proj'].weight.data;
    down.fill(3e38);
    const error = await workers.advance(1, weights, states()).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DoubleSparseError);
    expect(error).toMatchObject({ code: 'non-finite-value', data: { block: 1, sequence: 0 } });
    expect((error as Error).message).toContain('block 1');
    // The thread lives on.
    await workers.advance(1, model.readBlock(1), states());
  });

  test('so does a head', async () => {
    const head = model.readHead();
    head.norm.data.fill(3e38);
    const error = await workers.losses(head, states(), sequences).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'non-finite-value', data: { sequence: 0, block: 3 } });
  });
});

test('fewer sequences than threads leave threads to the products', async () => {
  const few = new ForwardPool({ config, choice: { name: 'wasm' }, threads: 4, sequences: 2, seqLen: 8 });
  expect(few).toMatchObject({ workers: 2, blasThreads: 2 });
  await few.close();
});

test('hidden states of another width, or longer than the tables, are refused', () => {
  const block = new Block(compute, config, 0, model.readBlock(0));
  expect(() => block.forward(sharedZeros(5, 23), rotary)).toThrow(/5x23/);
  expect(() => block.forward(sharedZeros(34, 24), rotary)).toThrow(/33 positions/);
});
