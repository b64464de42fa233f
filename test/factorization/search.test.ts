import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { admm } from '../../src/factorization/admm.js';
import { doubleSparse } from '../../src/factorization/double-sparse/double-sparse.js';
import { sparseStart } from '../../src/factorization/double-sparse/sparse-start.js';
import { relativeLayerError } from '../../src/factorization/layer-error.js';
import { Compute } from '../../src/linalg/compute.js';
import { createWasmEngine } from '../../src/linalg/engines/wasm.js';
import { countNonzeros } from '../../src/linalg/matrix.js';
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

describe('the start from one pruned matrix', () => {
  it.each([
    [10, 40],
    [40, 10],
  ])('%i x %i: no worse than that matrix, within the budget', (out, inputs) => {
    const { weight, gram } = randomLayer(out, inputs, 3);
    const [budget, squareShare] = [200, 0.2];
    compute.scope(() => {
      const [w, h] = [weight, gram].map((each) => compute.arena.adopt(each));
      const { a, b } = sparseStart(w, h, budget, { squareShare, steps: 8 }, compute)!;
      expect(countNonzeros(a) + countNonzeros(b)).toBe(budget);
      const pruned = admm(w, h, { sparsity: 0, budget: budget - 10 - 40, effort: 'default', seed: 0 }, compute);
      expect(relativeLayerError(w, h, [a, b], compute)).toBeLessThan(pruned.metrics.relativeError);
      expect(sparseStart(w, h, 15, { squareShare, steps: 8 }, compute)).toBeUndefined();
    });
  });
});
