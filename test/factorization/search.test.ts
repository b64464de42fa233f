import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { doubleSparse } from '../../src/factorization/double-sparse/double-sparse.js';
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
