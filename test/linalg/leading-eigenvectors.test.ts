import { describe, expect, it } from 'vitest';
import { Compute } from '../../src/linalg/compute.js';
import { createWasmEngine } from '../../src/linalg/engines/wasm.js';
import { leadingEigenvectors, orthonormalizeColumns } from '../../src/linalg/leading-eigenvectors.js';
import type { Matrix } from '../../src/linalg/matrix.js';
import { randomMatrix } from '../helpers.js';

describe('leadingEigenvectors', () => {
  const compute = new Compute(createWasmEngine());

  /** X^T diag(decay^i) X for a random square X. */
  function semidefinite(n: number, decay: number): Matrix {
    const factor = randomMatrix(n, n, 9);
    const scale = Float32Array.from({ length: n }, (_, i) => decay ** i);
    compute.kernels.scaleRows(factor.data, factor.data, scale);
    const result = compute.matrix(n, n);
    compute.syrk(factor, result, { transpose: true });
    return result;
  }

  it.each([1, 0.98, 0.9])('by iteration holds as much as all of them do (decay %f)', (decay) => {
    compute.scope(() => {
      const c = semidefinite(150, decay);
      const direct = leadingEigenvectors(c, 20, compute);
      const iterated = leadingEigenvectors(c, 20, compute, 64);
      const sum = (values: Float64Array): number => values.reduce((total, value) => total + value, 0);
      expect(sum(iterated.values)).toBeGreaterThan(0.999 * sum(direct.values));
      expect(sum(iterated.values)).toBeLessThan(1.00001 * sum(direct.values));
      for (const { vectors, values } of [direct, iterated]) {
        expect(Array.from(values)).toEqual(Array.from(values).sort((a, b) => b - a));
        const gram = compute.matrix(20, 20);
        compute.syrk(vectors, gram, { transpose: true });
        const identity = Float32Array.from({ length: 400 }, (_, at) => (at % 21 === 0 ? 1 : 0));
        expect(gram).toBeAllclose(identity, { atol: 1e-5 });
      }
    });
  });

  it('takes zeros and rank one', () => {
    compute.scope(() => {
      const zero = leadingEigenvectors(compute.matrix(50, 50), 3, compute, 10);
      expect(Array.from(zero.values).every((value) => Math.abs(value) < 1e-30)).toBe(true);
      const ones = compute.matrix(50, 50);
      ones.data.fill(1);
      const one = leadingEigenvectors(ones, 3, compute, 10);
      expect(one.values[0]).toBeCloseTo(50, 3);
      expect(Array.from(one.vectors.data).every(Number.isFinite)).toBe(true);
    });
  });

  it('orthonormalises nearly dependent columns and leaves zeros', () => {
    compute.scope(() => {
      const y = randomMatrix(40, 4, 5);
      for (let i = 0; i < 40; i++) {
        y.data[i * 4 + 1] = (y.data[i * 4] as number) + 1e-4 * (y.data[i * 4 + 1] as number);
        y.data[i * 4 + 2] = 0;
      }
      orthonormalizeColumns(y, compute);
      const gram = compute.matrix(4, 4);
      compute.syrk(y, gram, { transpose: true });
      expect(gram).toBeAllclose([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], { atol: 1e-5 });
    });
  });
});
