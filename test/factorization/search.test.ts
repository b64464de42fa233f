import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { doubleSparse } from '../../src/factorization/double-sparse/double-sparse.js';
import { doubleSparseLevels } from '../../src/factorization/double-sparse/levels.js';
import { relativeLayerError } from '../../src/factorization/layer-error.js';
import { Compute } from '../../src/linalg/compute.js';
import { createWasmEngine } from '../../src/linalg/engines/wasm.js';
import { randomLayer } from './random-layer.js';

const compute = new Compute(createWasmEngine());

describe('effort search', () => {
  it('keeps the budget at any shape and sparsity', () => {
    const shapes = fc.record({
      out: fc.integer({ min: 1, max: 12 }),
      inputs: fc.integer({ min: 1, max: 12 }),
      seed: fc.nat(1e6),
    });
    fc.assert(
      fc.property(shapes, fc.constantFrom(0, 0.5, 0.8, 0.95), ({ out, inputs, seed }, sparsity) => {
        const { weight, gram } = randomLayer(out, inputs, seed);
        const { factors, metrics } = doubleSparse(weight, gram, { sparsity, effort: 'search', seed: 0 }, compute);
        expect(metrics.nonzeros).toBeLessThanOrEqual(metrics.budget);
        expect(factors.every(({ data }) => data.every(Number.isFinite))).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    [12, 60],
    [60, 12],
    [24, 24],
  ])('finds better factors than max, %i x %i', (out, inputs) => {
    const { weight, gram } = randomLayer(out, inputs, 5);
    for (const sparsity of [0.5, 0.8]) {
      const error = (effort: 'max' | 'search'): number =>
        doubleSparse(weight, gram, { sparsity, effort, seed: 0 }, compute).metrics.relativeError;
      expect(error('search')).toBeLessThan(error('max'));
    }
  });
});

describe('levels of one path', () => {
  it.each([
    [12, 60],
    [60, 12],
    [20, 20],
  ])('%i x %i: each within its budget, errors between those of default and search', (out, inputs) => {
    const { weight, gram } = randomLayer(out, inputs, 8);
    const budgets = [0.1, 0.5, 0.25, 0.5].map((density) => Math.floor(density * out * inputs));
    const options = { sparsity: 0, effort: 'search', seed: 0 } as const;
    const levels = doubleSparseLevels(weight, gram, budgets, options, compute);
    expect(levels.map(({ metrics }) => metrics.budget)).toEqual(budgets);
    expect(levels[3]).toBe(levels[1]);
    for (const [i, budget] of budgets.entries()) {
      const { metrics, factors } = levels[i]!;
      expect(metrics.nonzeros).toBeLessThanOrEqual(budget);
      expect(relativeLayerError(weight, gram, factors, compute)).toBeCloseTo(metrics.relativeError, 5);
      const errorAt = (effort: 'default' | 'search'): number =>
        doubleSparse(weight, gram, { ...options, effort, budget }, compute).metrics.relativeError;
      expect(metrics.relativeError).toBeLessThan(errorAt('default'));
      expect(metrics.relativeError).toBeGreaterThan(0.9 * errorAt('search'));
    }
  });
});
