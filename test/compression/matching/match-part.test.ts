import { describe, expect, it } from 'vitest';
import { fitLastProduct } from '../../../src/compression/matching/fit-last-product.js';
import { type MatchingPool, matchPart } from '../../../src/compression/matching/match-part.js';
import type { PartExample, PartShare } from '../../../src/compression/matching/part-losses.js';
import { Compute } from '../../../src/linalg/compute.js';
import { referenceEngine } from '../../../src/linalg/engines/reference.js';
import { zeros } from '../../../src/linalg/matrix.js';
import { newShared } from '../../../src/linalg/shared-matrix.js';
import type { Parameter } from '../../../src/training/parameter.js';
import { nonzeroPositions } from '../../../src/training/support.js';
import { newTrainedValues, type UpdateOptions } from '../../../src/training/trained-values.js';

const example: PartExample = { input: zeros(1, 1), target: zeros(1, 1) };
const examples = { training: [example, example], heldOut: [example] };
const options = { steps: 8, batch: 1, seed: 1, firstRate: 6e-3 };
const shared = (...values: number[]): Float32Array => {
  const result = new Float32Array(new SharedArrayBuffer(4 * values.length));
  result.set(values);
  return result;
};

/** A pool whose steps add 1 to the value, and whose held-out errors are given, look by look. */
function matching(errors: readonly number[], gradientNorms: readonly number[] = []) {
  const trained = newTrainedValues(shared(10), [], 1, 0);
  const updates: UpdateOptions[] = [];
  const moments: number[] = [];
  let [looks, steps] = [0, 0];
  const pool = {
    gradient: async () => ({ sums: { error: 1 }, gradientNorm: gradientNorms[steps++] ?? 1 }),
    update: async (update: UpdateOptions) => {
      updates.push(update);
      moments.push(trained.first[0] as number);
      trained.values[0]! += 1;
      trained.first.fill(5);
      trained.second.fill(5);
    },
    expand: async () => {},
    losses: async () => ({ error: errors[looks++] as number }),
  } as unknown as MatchingPool;
  return { trained, updates, moments, run: () => matchPart(pool, trained, examples, 1, options) };
}

describe('matchPart', () => {
  it('keeps the best values, and goes back to them without moments at a smaller rate', async () => {
    const { trained, updates, moments, run } = matching([1.5, 0.4]);
    const gain = await run();
    expect(gain).toMatchObject({ after: 0.4, bestStep: 8, steps: 8 });
    expect(gain.learningRate).toBeCloseTo(0.3 * 6e-3);
    expect(gain).not.toHaveProperty('nonFiniteStep');
    // 10, four steps and back, four better.
    expect(trained.values[0]).toBe(14);
    expect(updates.map(({ step }) => step)).toEqual([1, 2, 3, 4, 1, 2, 3, 4]);
    expect(moments).toEqual([0, 5, 5, 5, 0, 5, 5, 5]);
  });

  it('leaves the values of the better look', async () => {
    const { trained, run } = matching([0.5, 0.7]);
    expect(await run()).toMatchObject({ after: 0.5, bestStep: 4, steps: 8 });
    expect(trained.values[0]).toBe(14);
  });

  it('leaves what it began with where nothing is better', async () => {
    const { trained, run } = matching([2, 2]);
    expect(await run()).toMatchObject({ after: 1, bestStep: 0 });
    expect(trained.values[0]).toBe(10);
  });

  it('ends at a gradient that is not finite, before it spoils the moments', async () => {
    const { trained, run } = matching([0.5, 0.4], [1, 1, 1, 1, 1, Number.NaN]);
    expect(await run()).toMatchObject({ after: 0.5, bestStep: 4, steps: 6, nonFiniteStep: 6 });
    expect(trained.values[0]).toBe(14);
    expect(trained.first[0]).toBe(5);
  });

  it('ends at a held-out error that is not finite, with the best values', async () => {
    const { trained, run } = matching([Number.NaN]);
    expect(await run()).toMatchObject({ after: 1, bestStep: 0, steps: 4, nonFiniteStep: 4 });
    expect(trained.values[0]).toBe(10);
  });
});

describe('fitLastProduct', () => {
  const compute = new Compute(referenceEngine);
  /** A matrix 1, 1 whose least squares solution is 2, 3; the held-out error is given. */
  async function decide(error: number) {
    const values = shared(1, 1);
    const positions = nonzeroPositions(Float32Array.from([1, 0, 0, 1]));
    const product: Parameter = {
      target: { rows: 2, columns: 2, data: Float32Array.from([1, 0, 0, 1]) },
      factors: [{ rows: 2, columns: 2, offset: 0, count: 2, positions }],
    };
    const share = { trained: newTrainedValues(values, [product], 1, 0) } as unknown as PartShare;
    let current = share;
    let looks = 0;
    const pool = {
      lanes: 1,
      blasThreads: 1,
      share: async (next: PartShare) => {
        current = next;
      },
      expand: async () => {},
      losses: async () => {
        const [own] = current.statistics ?? [];
        if (!own) {
          looks++;
          return { error };
        }
        own.gram.data.set([1, 0, 0, 1]);
        own.cross.data.set([2, 9, 9, 3]);
        return { error: 0 };
      },
    } as unknown as MatchingPool;
    const left = await fitLastProduct(pool, share, product, examples, 1, compute, newShared);
    return { error: left, looks, values: [...values].map((value) => Math.round(1000 * value) / 1000) };
  }

  it.each([
    ['worse', 1.5, { error: 1, looks: 1, values: [1, 1] }],
    ['no number', Number.NaN, { error: 1, looks: 1, values: [1, 1] }],
    // The ridge is as large as the curvature: half of the way.
    ['better', 0.5, { error: 0.5, looks: 1, values: [1.5, 2] }],
  ])('decides by the held-out error: %s', async (_, error, expected) => {
    expect(await decide(error)).toEqual(expected);
  });
});
