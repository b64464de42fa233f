import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DoubleSparseError } from '../../src/errors.js';
import { symmetricEigen } from '../../src/linalg/symmetric-eigen.js';
import { seededRandom } from '../helpers.js';
import { jacobiEigenvalues } from './jacobi.js';

/** Symmetric matrices with the spectra that break careless implementations. */
const kinds = {
  random: (i: number, j: number, random: () => number) => (i >= j ? 2 * random() - 1 : 0),
  diagonal: (i: number, j: number, random: () => number) => (i === j ? random() - 0.5 : 0),
  graded: (i: number, j: number, random: () => number) => (random() - 0.5) * 10 ** (-(i + j) / 2),
  gradedUpwards: (i: number, j: number, random: () => number) => (random() - 0.5) * 10 ** ((i + j) / 4),
  constant: () => 1,
  identity: (i: number, j: number) => (i === j ? 1 : 0),
  zero: () => 0,
  tiny: (_i: number, _j: number, random: () => number) => (random() - 0.5) * 1e-30,
  huge: (_i: number, _j: number, random: () => number) => (random() - 0.5) * 1e30,
  tridiagonal: (i: number, j: number) => (i === j ? 2 : Math.abs(i - j) === 1 ? -1 : 0),
};

function symmetric(n: number, kind: keyof typeof kinds, seed: number): Float64Array {
  const random = seededRandom(seed);
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      a[i * n + j] = kinds[kind](i, j, random);
      a[j * n + i] = a[i * n + j];
    }
  }
  return a;
}

const norm = (a: Float64Array): number => Math.sqrt(a.reduce((sum, value) => sum + value * value, 0));

/** Largest |A v_i - lambda_i v_i| and |v_i . v_j - delta_ij|. */
function defects(n: number, a: Float64Array, values: Float64Array, vectors: Float64Array) {
  let residual = 0;
  let orthogonality = 0;
  for (let i = 0; i < n; i++) {
    const v = vectors.subarray(i * n, (i + 1) * n);
    for (let j = 0; j < n; j++) {
      let image = 0;
      let overlap = 0;
      for (let k = 0; k < n; k++) {
        image += a[j * n + k] * v[k];
        overlap += v[k] * vectors[j * n + k];
      }
      residual = Math.max(residual, Math.abs(image - values[i] * v[j]));
      orthogonality = Math.max(orthogonality, Math.abs(overlap - (i === j ? 1 : 0)));
    }
  }
  return { residual, orthogonality };
}

describe.each(Object.keys(kinds) as (keyof typeof kinds)[])('symmetricEigen of a %s matrix', (kind) => {
  it('reconstructs it from orthonormal vectors and ascending values, those of Jacobi', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 24 }), fc.nat(1e6), (n, seed) => {
        const a = symmetric(n, kind, seed);
        const before = Float64Array.from(a);
        const { values, vectors } = symmetricEigen(n, a);
        const { residual, orthogonality } = defects(n, a, values, vectors);
        const scale = norm(a);
        expect(residual).toBeLessThanOrEqual(1e-13 * scale);
        expect(orthogonality).toBeLessThan(1e-13);
        expect(values).toEqual(Float64Array.from(values).sort());
        const expected = jacobiEigenvalues(n, a);
        for (let i = 0; i < n; i++) {
          expect(Math.abs(values[i] - expected[i])).toBeLessThanOrEqual(1e-13 * scale);
        }
        expect(a).toEqual(before);
      }),
      { numRuns: 25 },
    );
  });
});

describe('symmetricEigen', () => {
  it.each(['random', 'constant', 'tridiagonal'] as const)('holds at 160 rows: %s', (kind) => {
    const a = symmetric(160, kind, 3);
    const { values, vectors } = symmetricEigen(160, a);
    const { residual, orthogonality } = defects(160, a, values, vectors);
    expect(residual).toBeLessThan(1e-13 * norm(a));
    expect(orthogonality).toBeLessThan(1e-12);
  });

  it('knows the spectrum of the second difference', () => {
    const n = 50;
    const { values } = symmetricEigen(n, symmetric(n, 'tridiagonal', 0));
    for (let i = 0; i < n; i++) {
      expect(values[i]).toBeCloseTo(2 - 2 * Math.cos(((i + 1) * Math.PI) / (n + 1)), 12);
    }
  });

  it('reads the lower triangle alone, in fp32 too', () => {
    const a = Float32Array.from([2, Number.NaN, 1, 2]);
    expect(Array.from(symmetricEigen(2, a).values)).toEqual([expect.closeTo(1, 14), expect.closeTo(3, 14)]);
  });

  it('refuses what is not finite', () => {
    const error = expect.objectContaining({ code: 'non-finite-value', data: { row: 1, column: 0, size: 2 } });
    expect(() => symmetricEigen(2, Float64Array.of(1, 0, Number.NaN, 1))).toThrowError(DoubleSparseError);
    expect(() => symmetricEigen(2, Float64Array.of(1, 0, Number.POSITIVE_INFINITY, 1))).toThrowError(error);
  });

  it('takes the empty matrix', () => {
    expect(symmetricEigen(0, new Float64Array(0)).values).toHaveLength(0);
  });
});
