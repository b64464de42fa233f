import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alternateScaled } from '../../src/factorization/double-sparse/alternate-scaled.js';
import { splitBudget } from '../../src/factorization/double-sparse/budget.js';
import { doubleSparse, doubleSparseFixedMask } from '../../src/factorization/double-sparse/double-sparse.js';
import { fixedMask } from '../../src/factorization/double-sparse/fixed-mask.js';
import { doubleSparseReference, referenceSchedule } from '../../src/factorization/double-sparse/reference-schedule.js';
import { refitFactors } from '../../src/factorization/double-sparse/refit.js';
import { factorizeStacked } from '../../src/factorization/double-sparse/stacked.js';
import type { FactorizationOptions } from '../../src/factorization/factorization.js';
import { relativeLayerError } from '../../src/factorization/layer-error.js';
import { Compute } from '../../src/linalg/compute.js';
import { createWasmEngine } from '../../src/linalg/engines/wasm.js';
import { countNonzeros, type Matrix, matrix, zeros } from '../../src/linalg/matrix.js';
import { randomLayer } from './random-layer.js';

const compute = new Compute(createWasmEngine());
const options: FactorizationOptions = { sparsity: 0.5, effort: 'fast', seed: 7 };
const variants = { doubleSparse, doubleSparseReference, doubleSparseFixedMask };

const shapes = fc.record({
  out: fc.integer({ min: 1, max: 24 }),
  inputs: fc.integer({ min: 1, max: 24 }),
  seed: fc.nat(1e6),
});
const sparsities = fc.constantFrom(0, 0.3, 0.5, 0.7, 0.9, 0.999);

function permuteRows(source: Matrix, order: readonly number[]): Matrix {
  const result = zeros(source.rows, source.columns);
  for (const [to, from] of order.entries()) {
    result.data.set(source.data.subarray(from * source.columns, (from + 1) * source.columns), to * source.columns);
  }
  return result;
}

describe.each(Object.entries(variants))('%s', (_name, method) => {
  it('keeps at most the budget, exactly it where weights are generic', () => {
    fc.assert(
      fc.property(shapes, sparsities, ({ out, inputs, seed }, sparsity) => {
        const { weight, gram } = randomLayer(out, inputs, seed);
        const { factors, metrics } = method(weight, gram, { ...options, sparsity }, compute);
        const [a, b] = factors as [Matrix, Matrix];
        const inner = Math.min(out, inputs);
        expect([a.rows, a.columns, b.rows, b.columns]).toEqual([out, inner, inner, inputs]);
        expect(countNonzeros(a) + countNonzeros(b)).toBeLessThanOrEqual(metrics.budget);
        expect(metrics.nonzeros).toBe(countNonzeros(a) + countNonzeros(b));
        expect(Number.isFinite(metrics.relativeError)).toBe(true);
        expect([...a.data, ...b.data].every(Number.isFinite)).toBe(true);
      }),
      { numRuns: 60 },
    );
    const { weight, gram } = randomLayer(40, 32, 1);
    const { metrics } = method(weight, gram, options, compute);
    expect(metrics.nonzeros).toBe(metrics.budget);
  });

  it('is never worse than nothing, and reports the error of its factors', () => {
    fc.assert(
      fc.property(shapes, sparsities, ({ out, inputs, seed }, sparsity) => {
        const { weight, gram } = randomLayer(out, inputs, seed, Math.ceil(inputs / 2));
        const { factors, metrics } = method(weight, gram, { ...options, sparsity }, compute);
        // fp32 sums of a few hundred terms: 1e-4 of the whole.
        expect(metrics.relativeError).toBeLessThanOrEqual(1 + 1e-4);
        const again = relativeLayerError(weight, gram, factors, compute);
        expect(Math.abs(again - metrics.relativeError)).toBeLessThanOrEqual(1e-6);
      }),
      { numRuns: 60 },
    );
  });

  it('gives the same bytes again, and leaves its input alone', () => {
    const { weight, gram } = randomLayer(30, 44, 3);
    const before = [weight.data.slice(), gram.data.slice()];
    const [first, second] = [method(weight, gram, options, compute), method(weight, gram, options, compute)];
    expect(second.factors).toEqual(first.factors);
    expect([weight.data, gram.data]).toEqual(before);
  });

  it('does not care about powers of two in the weight or the Gram matrix', () => {
    const { weight, gram } = randomLayer(24, 36, 5);
    const { metrics } = method(weight, gram, options, compute);
    const scaled = matrix(
      24,
      36,
      weight.data.map((value) => value * 4),
    );
    const scaledGram = matrix(
      36,
      36,
      gram.data.map((value) => value * 0.25),
    );
    const other = method(scaled, scaledGram, options, compute);
    // The floors of 1e-8 under norms do not scale: differences start in the last bits and grow through the supports.
    expect(Math.abs(other.metrics.relativeError / metrics.relativeError - 1)).toBeLessThan(0.02);
  });

  it('follows a permutation of the outputs', () => {
    const { weight, gram } = randomLayer(48, 24, 9);
    const order = Array.from({ length: 48 }, (_, i) => (i * 17) % 48);
    const straight = method(weight, gram, options, compute).metrics.relativeError;
    const permuted = method(permuteRows(weight, order), gram, options, compute).metrics.relativeError;
    // Sums in another order decide other near-ties: the error is of the same size, not the same.
    expect(Math.abs(permuted / straight - 1)).toBeLessThan(0.05);
  });

  it.each([
    ['a zero Gram matrix', zeros(12, 16), zeros(16, 16)],
    ['constant weights', matrix(12, 16, new Float32Array(192).fill(0.5)), randomLayer(12, 16, 2).gram],
    ['zero weights', zeros(12, 16), randomLayer(12, 16, 2).gram],
    ['a single input', randomLayer(12, 1, 2).weight, randomLayer(12, 1, 2).gram],
    ['a single output', randomLayer(1, 12, 2).weight, randomLayer(1, 12, 2).gram],
    ['one entry', matrix(1, 1, [3]), matrix(1, 1, [2])],
  ])('stays finite with %s', (_case, weight, gram) => {
    for (const sparsity of [0, 0.5, 0.999]) {
      const { factors, metrics } = method(weight, gram, { ...options, sparsity }, compute);
      expect(factors.every(({ data }) => data.every(Number.isFinite))).toBe(true);
      expect(metrics.relativeError).toBeGreaterThanOrEqual(0);
      expect(metrics.relativeError).toBeLessThanOrEqual(1 + 1e-5);
      expect(metrics.nonzeros).toBeLessThanOrEqual(metrics.budget);
    }
  });

  it('stays finite where some inputs are dead', () => {
    const { weight, gram } = randomLayer(20, 20, 4);
    for (let j = 0; j < 20; j++) for (const dead of [3, 11]) gram.data[dead * 20 + j] = gram.data[j * 20 + dead] = 0;
    const { factors, metrics } = method(weight, gram, options, compute);
    expect(factors.every(({ data }) => data.every(Number.isFinite))).toBe(true);
    expect(metrics.relativeError).toBeLessThan(0.5);
  });
});

describe('parts of the method', () => {
  it('splits budgets so that both factors get something and nothing is lost', () => {
    fc.assert(
      fc.property(shapes, sparsities, fc.constantFrom(0.16, 0.25, 0.35), ({ out, inputs }, sparsity, density) => {
        const budget = Math.floor((1 - sparsity) * out * inputs);
        const split = splitBudget(zeros(out, inputs), budget, { density, mostOfBudget: 0.35 });
        expect(split.square + split.other).toBe(budget);
        if (budget >= 2) expect(Math.min(split.square, split.other)).toBeGreaterThan(0);
        expect(split.square).toBeLessThanOrEqual(split.inner ** 2);
        expect(split.other).toBeLessThanOrEqual(out * inputs);
      }),
    );
  });

  it('refits without raising the error', () => {
    fc.assert(
      fc.property(shapes, ({ out, inputs, seed }) => {
        const { weight, gram } = randomLayer(out, inputs, seed);
        const budget = Math.floor(out * inputs * 0.5);
        const settings = {
          alternation: { ...referenceSchedule, outerIterations: 5 },
          scalingExponent: 0.5,
          squareShare: { density: 0.25, mostOfBudget: 0.5 },
        };
        compute.scope(() => {
          const { a, b } = alternateScaled(weight, gram, budget, settings, compute);
          const before = relativeLayerError(weight, gram, [a, b], compute);
          refitFactors({ weight, gram, a, b }, { rounds: 3, steps: 5 }, compute);
          // fp32 rounding of the error itself.
          expect(relativeLayerError(weight, gram, [a, b], compute)).toBeLessThanOrEqual(before * 1.0001 + 1e-6);
        });
      }),
      { numRuns: 60 },
    );
  });

  it('makes one mask for all layers of a shape', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(99),
        (k, part, seed) => {
          compute.scope(() => {
            const count = Math.floor(part * k * k);
            const mask = fixedMask(k, count, seed, compute);
            expect(countNonzeros(mask)).toBe(count);
            for (let i = 0; i < Math.min(k, count); i++) expect(mask.data[i * k + i]).toBe(1);
            expect(fixedMask(k, count, seed, compute)).toEqual(mask);
          });
        },
      ),
    );
    const layers = [randomLayer(32, 32, 1), randomLayer(32, 32, 2)];
    const supports = layers.map(({ weight, gram }) => {
      const b = doubleSparseFixedMask(weight, gram, options, compute).factors[1] as Matrix;
      return b.data.map((value) => (value === 0 ? 0 : 1));
    });
    expect(supports[0]).toEqual(supports[1]);
  });

  it.each([0.5, 0.8, 0.83])('stacks weights with the same inputs around one shared factor, at %s', (sparsity) => {
    const { gram } = randomLayer(8, 24, 1);
    const weights = [randomLayer(24, 24, 1).weight, randomLayer(8, 24, 2).weight, randomLayer(8, 24, 3).weight];
    const results = factorizeStacked(weights, gram, { ...options, sparsity }, compute);
    const shared = results[0]?.factors[1] as Matrix;
    let own = 0;
    for (const [index, { factors, metrics }] of results.entries()) {
      const weight = weights[index] as Matrix;
      expect(factors[1]).toBe(shared);
      expect(metrics.relativeError).toBeCloseTo(relativeLayerError(weight, gram, factors, compute), 6);
      expect(metrics.nonzeros).toBeLessThanOrEqual(metrics.budget);
      own += countNonzeros(factors[0] as Matrix);
    }
    const charged = results.reduce((sum, { metrics }) => sum + metrics.nonzeros, 0);
    expect(charged).toBe(own + countNonzeros(shared));
  });
});
