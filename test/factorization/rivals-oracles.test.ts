import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DoubleSparseError } from '../../src/errors.js';
import { blockDiagonal } from '../../src/factorization/block-diagonal.js';
import { lowRank } from '../../src/factorization/low-rank.js';
import { obc, obcLevels } from '../../src/factorization/obc/obc.js';
import { sparseDictionary } from '../../src/factorization/sparse-dictionary.js';
import { countNonzeros, type Matrix, zeros } from '../../src/linalg/matrix.js';
import { jacobiEigenvalues } from '../linalg/jacobi.js';
import { naiveObc } from './naive-obc.js';
import { randomLayer } from './random-layer.js';
import { compute, optionsAt, product, run } from './run-method.js';

const shapes = fc.record({
  out: fc.integer({ min: 1, max: 14 }),
  inputs: fc.integer({ min: 1, max: 14 }),
  seed: fc.nat(1e6),
});
const sparsities = fc.constantFrom(0, 0.3, 0.5, 0.7, 0.9);

const inOrder = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

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
      for (let j = 0; j < 12; j++) weight.data[i * 12 + j] = weight.data[i * 12 + j] * 10 ** ((i % 10) / 4);
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

  it('at several budgets from one elimination is what it is at each', () => {
    const { weight, gram } = randomLayer(30, 14, 6);
    const budgets = [200, 40, 300, 0, 420];
    const levels = obcLevels(weight, gram, budgets, optionsAt(0), compute);
    for (const [i, budget] of budgets.entries()) {
      const alone = obc(weight, gram, { ...optionsAt(0), budget }, compute);
      expect(levels[i]?.metrics.nonzeros).toBe(budget);
      expect(levels[i]?.factors).toEqual(alone.factors);
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
                const around = weight.data[i * inputs + k] * weight.data[j * inputs + l];
                sum += around * gram.data[k * inputs + l];
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
    for (let i = 0; i < inputs; i++) gram.data[i * inputs + i] = gram.data[i * inputs + i] + inputs;
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
