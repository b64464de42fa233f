import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DoubleSparseError } from '../../src/errors.js';
import { admm } from '../../src/factorization/admm.js';
import { blockDiagonal } from '../../src/factorization/block-diagonal.js';
import type {
  Factorization,
  FactorizationMethod,
  FactorizationOptions,
} from '../../src/factorization/factorization.js';
import { lowRank } from '../../src/factorization/low-rank.js';
import { magnitude } from '../../src/factorization/magnitude.js';
import { obc } from '../../src/factorization/obc.js';
import { sparseDictionary } from '../../src/factorization/sparse-dictionary.js';
import { sparsegpt } from '../../src/factorization/sparsegpt.js';
import { wanda } from '../../src/factorization/wanda.js';
import { Compute } from '../../src/linalg/compute.js';
import { referenceEngine } from '../../src/linalg/engines/reference.js';
import { countNonzeros, type Matrix, zeros } from '../../src/linalg/matrix.js';
import { jacobiEigenvalues } from '../linalg/jacobi.js';
import { naiveObc } from './naive-obc.js';
import { randomLayer } from './random-layer.js';

const compute = new Compute(referenceEngine);
const pruners = { magnitude, wanda, sparsegpt, admm, obc };
const pairs = { lowRank, sparseDictionary, blockDiagonal };
const all = { ...pruners, ...pairs };

const run = (method: FactorizationMethod, weight: Matrix, gram: Matrix, sparsity: number): Factorization => {
  const options: FactorizationOptions = { sparsity, effort: 'default', seed: 3 };
  return method(weight, gram, options, compute);
};
const shapes = fc.record({
  out: fc.integer({ min: 1, max: 14 }),
  inputs: fc.integer({ min: 1, max: 14 }),
  seed: fc.nat(1e6),
});
const sparsities = fc.constantFrom(0, 0.3, 0.5, 0.7, 0.9);

function product(factors: readonly Matrix[]): Matrix {
  return factors.reduce((left, right) => {
    const result = zeros(left.rows, right.columns);
    compute.gemm(left, right, result);
    return result;
  });
}

/** tr((W - V) H (W - V)^T) / tr(W H W^T) in float64. */
function errorInFloat64(weight: Matrix, gram: Matrix, approximation: Matrix): number {
  const n = weight.columns;
  const energy = (at: (index: number) => number): number => {
    let sum = 0;
    for (let i = 0; i < weight.rows; i++) {
      for (let j = 0; j < n; j++) {
        for (let k = 0; k < n; k++) sum += at(i * n + j) * (gram.data[j * n + k] as number) * at(i * n + k);
      }
    }
    return sum;
  };
  const whole = energy((at) => weight.data[at] as number);
  const rest = energy((at) => (weight.data[at] as number) - (approximation.data[at] as number));
  return whole > 0 ? rest / whole : 0;
}

function permuted(source: Matrix, rows: readonly number[], columns: readonly number[]): Matrix {
  const result = zeros(source.rows, source.columns);
  for (const [i, row] of rows.entries()) {
    for (const [j, column] of columns.entries()) {
      result.data[i * source.columns + j] = source.data[row * source.columns + column] as number;
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

describe('obc', () => {
  it('removes what the naive algorithm removes', () => {
    fc.assert(
      fc.property(shapes, sparsities, ({ out, inputs, seed }, sparsity) => {
        const { weight, gram } = randomLayer(out, inputs, seed);
        const { factors, metrics } = run(obc, weight, gram, sparsity);
        expect(metrics.damping).toBe(0);
        const expected = naiveObc(weight, gram, out * inputs - metrics.budget);
        expect(factors[0] as Matrix).toBeAllclose(expected, { atol: 1e-4 });
      }),
      { numRuns: 60 },
    );
  });

  it('does so with more rows than it samples, of very different weight', () => {
    const { weight, gram } = randomLayer(70, 12, 4);
    for (let i = 0; i < 70; i++) {
      for (let j = 0; j < 12; j++) weight.data[i * 12 + j] = (weight.data[i * 12 + j] as number) * 10 ** ((i % 10) / 4);
    }
    for (const sparsity of [0.2, 0.5, 0.8]) {
      const { factors, metrics } = run(obc, weight, gram, sparsity);
      expect(metrics.nonzeros).toBe(metrics.budget);
      expect(factors[0] as Matrix).toBeAllclose(naiveObc(weight, gram, 840 - metrics.budget), {
        rtol: 1e-3,
        atol: 1e-3,
      });
    }
  });

  it('refuses layers that would take days', () => {
    const weight = zeros(1, 4097);
    expect(() => run(obc, weight, zeros(4097, 4097), 0.5)).toThrowError(DoubleSparseError);
    expect(() => run(obc, weight, zeros(4097, 4097), 0.5)).toThrowError(
      expect.objectContaining({ code: 'layer-too-large', data: { rows: 1, columns: 4097, limit: 4096 } }),
    );
  });
});

describe('low-rank', () => {
  it('leaves the smallest singular values of W H^(1/2), whichever side is shorter', () => {
    fc.assert(
      fc.property(shapes, fc.constantFrom(0, 0.3, 0.5), fc.boolean(), ({ out, inputs, seed }, sparsity, deficient) => {
        const { weight, gram } = randomLayer(out, inputs, seed, deficient ? Math.ceil(inputs / 2) : undefined);
        const { factors, metrics } = run(lowRank, weight, gram, sparsity);
        const rank = Math.floor(metrics.budget / (out + inputs));
        const outer = new Float64Array(out * out);
        for (let i = 0; i < out; i++) {
          for (let j = 0; j < out; j++) {
            let sum = 0;
            for (let k = 0; k < inputs; k++) {
              for (let l = 0; l < inputs; l++) {
                const around = (weight.data[i * inputs + k] as number) * (weight.data[j * inputs + l] as number);
                sum += around * (gram.data[k * inputs + l] as number);
              }
            }
            outer[i * out + j] = sum;
          }
        }
        const values = jacobiEigenvalues(out, outer);
        const total = values.reduce((sum, value) => sum + value, 0);
        const rest = values.slice(0, out - rank).reduce((sum, value) => sum + value, 0);
        expect(metrics.relativeError).toBeCloseTo(Math.max(0, rest) / total, 4);
        expect((factors[0] as Matrix).columns).toBe(Math.max(1, rank));
      }),
      { numRuns: 60 },
    );
  });

  it('has error 1 where the budget pays for no rank', () => {
    const { weight, gram } = randomLayer(4, 5, 1);
    const { factors, metrics } = run(lowRank, weight, gram, 0.9);
    expect(factors.map(({ rows, columns }) => [rows, columns])).toEqual([
      [4, 1],
      [1, 5],
    ]);
    expect(metrics).toMatchObject({ nonzeros: 0, relativeError: 1 });
  });
});

describe('sparse-dictionary', () => {
  it.each([
    [24, 24],
    [16, 40],
    [40, 16],
  ])('%ix%i: a dense dictionary on the shorter side, equal counts in all codes', (out, inputs) => {
    const { weight, gram } = randomLayer(out, inputs, 2);
    // Inputs of full rank: atoms that nothing needs would be zero.
    for (let i = 0; i < inputs; i++) gram.data[i * inputs + i] = (gram.data[i * inputs + i] as number) + inputs;
    const [left, right] = run(sparseDictionary, weight, gram, 0.5).factors as [Matrix, Matrix];
    const [dictionary, codes] = out <= inputs ? [left, right] : [right, left];
    expect(countNonzeros(dictionary)).toBe(dictionary.data.length);
    const atomOf = (at: number): number => (out <= inputs ? at % inputs : Math.floor(at / codes.columns));
    const counts = new Map<number, number>();
    for (const [at, value] of codes.data.entries()) {
      if (value !== 0) counts.set(atomOf(at), (counts.get(atomOf(at)) ?? 0) + 1);
    }
    expect(counts.size).toBe(Math.max(out, inputs));
    expect(new Set(counts.values()).size).toBe(1);
  });

  it('beats low rank, which is its special case with dense codes', () => {
    const { weight, gram } = randomLayer(40, 48, 2);
    const error = run(sparseDictionary, weight, gram, 0.5).metrics.relativeError;
    expect(error).toBeLessThan(run(lowRank, weight, gram, 0.5).metrics.relativeError);
  });
});

describe('block-diagonal', () => {
  it('has blocks: every row of A and column of B reaches one group', () => {
    const { weight, gram } = randomLayer(12, 24, 2);
    const [a, b] = run(blockDiagonal, weight, gram, 0.4).factors as [Matrix, Matrix];
    // 2 groups of outputs, 4 of inputs, rank floor(172 / (2 * 24 + 4 * 12)) = 1.
    expect([a.columns, b.rows]).toEqual([8, 8]);
    for (let inner = 0; inner < 8; inner++) {
      const rows = inOrder(12).filter((i) => a.data[i * 8 + inner] !== 0);
      const columns = inOrder(24).filter((j) => b.data[inner * 24 + j] !== 0);
      const [i, j] = [inner % 2, inner >> 1];
      expect(rows).toEqual(inOrder(6).map((row) => row + 6 * i));
      expect(columns).toEqual(inOrder(6).map((column) => column + 6 * j));
    }
  });

  it('recovers a product of such factors', () => {
    const { gram } = randomLayer(12, 12, 6);
    const source = run(blockDiagonal, randomLayer(12, 12, 6).weight, gram, 0.5);
    const again = run(blockDiagonal, product(source.factors), gram, 0.5);
    expect(source.metrics.relativeError).toBeGreaterThan(0.1);
    expect(again.metrics.relativeError).toBeLessThan(1e-3);
  });
});
