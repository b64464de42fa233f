import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { admm } from '../../src/factorization/admm.js';
import { blockDiagonal } from '../../src/factorization/block-diagonal.js';
import type { Factorization } from '../../src/factorization/factorization.js';
import { lowRank } from '../../src/factorization/low-rank.js';
import { magnitude } from '../../src/factorization/magnitude.js';
import { obc } from '../../src/factorization/obc/obc.js';
import { sparseDictionary } from '../../src/factorization/sparse-dictionary.js';
import { sparsegpt } from '../../src/factorization/sparsegpt.js';
import { wanda } from '../../src/factorization/wanda.js';
import { countNonzeros, type Matrix, zeros } from '../../src/linalg/matrix.js';
import { randomLayer } from './random-layer.js';
import { product, run } from './run-method.js';

const pruners = { magnitude, wanda, sparsegpt, admm, obc };
const pairs = { lowRank, sparseDictionary, blockDiagonal };
const all = { ...pruners, ...pairs };

const shapes = fc.record({
  out: fc.integer({ min: 1, max: 14 }),
  inputs: fc.integer({ min: 1, max: 14 }),
  seed: fc.nat(1e6),
});
const sparsities = fc.constantFrom(0, 0.3, 0.5, 0.7, 0.9);

/** tr((W - V) H (W - V)^T) / tr(W H W^T) in float64. */
function errorInFloat64(weight: Matrix, gram: Matrix, approximation: Matrix): number {
  const n = weight.columns;
  const energy = (at: (index: number) => number): number => {
    let sum = 0;
    for (let i = 0; i < weight.rows; i++) {
      for (let j = 0; j < n; j++) {
        for (let k = 0; k < n; k++) sum += at(i * n + j) * gram.data[j * n + k] * at(i * n + k);
      }
    }
    return sum;
  };
  const whole = energy((at) => weight.data[at]);
  const rest = energy((at) => weight.data[at] - approximation.data[at]);
  return whole > 0 ? rest / whole : 0;
}

function permuted(source: Matrix, rows: readonly number[], columns: readonly number[]): Matrix {
  const result = zeros(source.rows, source.columns);
  for (const [i, row] of rows.entries()) {
    for (const [j, column] of columns.entries()) {
      result.data[i * source.columns + j] = source.data[row * source.columns + column];
    }
  }
  return result;
}

/** 0 .. n - 1 in an order of no particular meaning. */
function shuffled(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i).sort((a, b) => ((a * 7 + 3) % 11) - ((b * 7 + 3) % 11) || b - a);
}
const inOrder = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

describe.each(Object.entries(all))('%s', (_name, method) => {
  it('gives factors of out x in within the budget, their true error, the same twice; changes no input', () => {
    fc.assert(
      fc.property(shapes, sparsities, fc.boolean(), ({ out, inputs, seed }, sparsity, deficient) => {
        const { weight, gram } = randomLayer(out, inputs, seed, deficient ? Math.ceil(inputs / 2) : undefined);
        const [weightBefore, gramBefore] = [weight.data.slice(), gram.data.slice()];
        const { factors, metrics } = run(method, weight, gram, sparsity);
        const approximation = product(factors);
        expect([approximation.rows, approximation.columns]).toEqual([out, inputs]);
        expect(factors.reduce((sum, factor) => sum + countNonzeros(factor), 0)).toBe(metrics.nonzeros);
        expect(metrics.budget).toBe(Math.floor((1 - sparsity) * out * inputs + 1e-6));
        expect(metrics.nonzeros).toBeLessThanOrEqual(metrics.budget);
        expect(metrics.relativeError).toBeCloseTo(errorInFloat64(weight, gram, approximation), 3);
        expect(weight.data).toHaveSameBits(weightBefore);
        expect(gram.data).toHaveSameBits(gramBefore);
        for (const [index, factor] of run(method, weight, gram, sparsity).factors.entries()) {
          expect(factor.data).toHaveSameBits((factors[index] as Matrix).data);
        }
      }),
      { numRuns: 30 },
    );
  });

  it.each([0, 0.5, 0.9])('takes degenerate layers at sparsity %f', (sparsity) => {
    const check = (weight: Matrix, gram: Matrix): Factorization => {
      const result = run(method, weight, gram, sparsity);
      expect(result.factors.every(({ data }) => data.every(Number.isFinite))).toBe(true);
      expect(Number.isFinite(result.metrics.relativeError)).toBe(true);
      expect(result.metrics.nonzeros).toBeLessThanOrEqual(result.metrics.budget);
      return result;
    };
    for (const [out, inputs] of [
      [1, 1],
      [1, 9],
      [9, 1],
      [6, 8],
      [8, 6],
    ] as const) {
      const { weight, gram } = randomLayer(out, inputs, 5);
      check(weight, gram);
      // Never an input.
      expect(check(weight, zeros(inputs, inputs)).metrics.relativeError).toBe(0);
      // Some inputs always zero.
      const dead = gram.data.slice();
      for (let i = 0; i < inputs; i++)
        for (let j = 0; j < inputs; j++) if (i % 3 === 0 || j % 3 === 0) dead[i * inputs + j] = 0;
      check(weight, { ...gram, data: dead });
      // One sample; all inputs equal.
      check(weight, randomLayer(out, inputs, 5, 1).gram);
      check(weight, { ...gram, data: new Float32Array(inputs * inputs).fill(1) });
      // Constant weights, no weights.
      check({ ...weight, data: new Float32Array(out * inputs).fill(0.5) }, gram);
      expect(check(zeros(out, inputs), gram).metrics.relativeError).toBe(0);
      // Scales at the ends of what checkpoints hold.
      for (const scale of [1e-12, 1e12]) {
        check(
          { ...weight, data: weight.data.map((value) => value * 1e-4) },
          { ...gram, data: gram.data.map((value) => value * scale) },
        );
      }
    }
  });
});

describe.each(Object.entries(pruners))('%s', (_name, method) => {
  it('keeps exactly the budget where no weight is zero', () => {
    fc.assert(
      fc.property(shapes, sparsities, ({ out, inputs, seed }, sparsity) => {
        const { weight, gram } = randomLayer(out, inputs, seed);
        const { metrics } = run(method, weight, gram, sparsity);
        expect(metrics.nonzeros).toBe(metrics.budget);
      }),
      { numRuns: 60 },
    );
    // Over more than one block of columns.
    const { weight, gram } = randomLayer(3, 150, 8);
    expect(run(method, weight, gram, 0.37).metrics.nonzeros).toBe(Math.floor(0.63 * 450));
  });

  it('is no worse than nothing where inputs are uncorrelated', () => {
    fc.assert(
      fc.property(shapes, sparsities, ({ out, inputs, seed }, sparsity) => {
        const { weight, gram } = randomLayer(out, inputs, seed);
        const own = gram.data.map((value, at) => (at % (inputs + 1) === 0 ? value : 0));
        expect(run(method, weight, { ...gram, data: own }, sparsity).metrics.relativeError).toBeLessThanOrEqual(1);
      }),
      { numRuns: 40 },
    );
  });

  it('does the same to rows in another order', () => {
    fc.assert(
      fc.property(shapes, fc.constantFrom(0, 0.5), ({ out, inputs, seed }, sparsity) => {
        const even = 2 * Math.ceil(inputs / 2); // so that each row's share of the budget is whole
        const { weight, gram } = randomLayer(out, even, seed);
        const order = shuffled(out);
        const [plain] = run(method, weight, gram, sparsity).factors as [Matrix];
        const [moved] = run(method, permuted(weight, order, inOrder(even)), gram, sparsity).factors as [Matrix];
        expect(moved.data).toHaveSameBits(permuted(plain, order, inOrder(even)).data);
      }),
      { numRuns: 30 },
    );
  });
});

describe.each(Object.entries({ magnitude, wanda, admm, obc }))('%s', (_name, method) => {
  it('does the same to inputs in another order, but for rounding', () => {
    fc.assert(
      fc.property(shapes, fc.constantFrom(0, 0.5), ({ out, inputs, seed }, sparsity) => {
        const { weight, gram } = randomLayer(out, inputs, seed);
        const order = shuffled(inputs);
        const plain = run(method, weight, gram, sparsity).metrics.relativeError;
        const movedWeight = permuted(weight, inOrder(out), order);
        const moved = run(method, movedWeight, permuted(gram, order, order), sparsity).metrics.relativeError;
        expect(moved).toBeCloseTo(plain, 3);
      }),
      { numRuns: 30, seed: 1 },
    );
  });
});

describe.each(Object.entries({ obc, ...pairs }))('%s', (_name, method) => {
  it('is never worse than nothing', () => {
    fc.assert(
      fc.property(shapes, sparsities, fc.boolean(), ({ out, inputs, seed }, sparsity, deficient) => {
        const { weight, gram } = randomLayer(out, inputs, seed, deficient ? Math.ceil(inputs / 2) : undefined);
        expect(run(method, weight, gram, sparsity).metrics.relativeError).toBeLessThan(1 + 1e-4);
      }),
      { numRuns: 60 },
    );
  });
});
