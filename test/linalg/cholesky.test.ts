import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DoubleSparseError } from '../../src/errors.js';
import { choleskyWithInverse, invertPositiveDefinite, withDamping } from '../../src/linalg/cholesky.js';
import { Compute } from '../../src/linalg/compute.js';
import { referenceEngine } from '../../src/linalg/engines/reference.js';
import { clone, type Matrix, zeros } from '../../src/linalg/matrix.js';
import { randomMatrix } from '../helpers.js';

const compute = new Compute(referenceEngine);

/** X X^T / n + 0.1 I: condition number about 14 / 0.1. */
function positiveDefinite(n: number, seed: number): Matrix {
  const x = randomMatrix(n, n, seed);
  const result = zeros(n, n);
  compute.gemm(x, x, result, { transposeB: true, alpha: 1 / n });
  for (let i = 0; i < n; i++) result.data[i * n + i] = result.data[i * n + i] + 0.1;
  return result;
}

function product(a: Matrix, b: Matrix, options = {}): Matrix {
  const result = zeros(a.rows, b.columns);
  compute.gemm(a, b, result, options);
  return result;
}

function identity(n: number): Matrix {
  const result = zeros(n, n);
  for (let i = 0; i < n; i++) result.data[i * n + i] = 1;
  return result;
}

function lowerOf(a: Matrix): Matrix {
  const result = clone(a);
  for (let i = 0; i < a.rows; i++) result.data.fill(0, i * a.columns + i + 1, (i + 1) * a.columns);
  return result;
}

/** Around the leaf (40), twice it, and the strips of 128 rows. */
const sizes = [1, 2, 3, 39, 40, 41, 79, 80, 81, 127, 128, 129, 161, 257];

describe.each(sizes)('a positive definite matrix of %i rows', (n) => {
  const a = positiveDefinite(n, n);

  it('is the product of its Cholesky factors, and the inverse is the inverse of the factor', () => {
    const factor = clone(a);
    const inverse = zeros(n, n);
    expect(choleskyWithInverse(factor, inverse, compute)).toBe(true);
    const lower = lowerOf(factor);
    expect(product(lower, lower, { transposeB: true })).toBeAllclose(a, { atol: 2e-6 });
    expect(product(lower, inverse)).toBeAllclose(identity(n), { atol: 2e-5 });
    expect(inverse).toBeAllclose(lowerOf(inverse));
  });

  it('times its inverse is the identity, and the inverse is symmetric', () => {
    const inverse = clone(a);
    expect(invertPositiveDefinite(inverse, compute)).toBe(true);
    expect(product(a, inverse)).toBeAllclose(identity(n), { atol: 5e-5 });
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) {
        expect(Math.abs(inverse.data[i * n + j] - inverse.data[j * n + i])).toBeLessThan(1e-5);
      }
    }
  });

  it('is told from one that is not, wherever it fails', () => {
    for (const at of new Set([0, n >> 1, n - 1])) {
      for (const entry of [-0.5, 0, Number.NaN, Number.POSITIVE_INFINITY]) {
        const broken = clone(a);
        broken.data[at * n + at] = entry;
        expect(choleskyWithInverse(clone(broken), zeros(n, n), compute)).toBe(false);
        expect(invertPositiveDefinite(broken, compute)).toBe(false);
      }
    }
  });
});

describe('invertPositiveDefinite', () => {
  it('inverts what a random scaling has made ill-conditioned, relative to that scaling', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.nat(1e6), (n, seed) => {
        const a = positiveDefinite(n, seed);
        const scale = Float32Array.from({ length: n }, (_, i) => 10 ** ((i % 7) - 3));
        compute.kernels.scaleRows(a.data, a.data, scale);
        compute.kernels.scaleColumns(a.data, a.data, scale);
        const inverse = clone(a);
        expect(invertPositiveDefinite(inverse, compute)).toBe(true);
        compute.kernels.scaleRows(inverse.data, inverse.data, scale);
        const back = product(inverse, a);
        compute.kernels.scaleColumns(
          back.data,
          back.data,
          scale.map((value) => 1 / value),
        );
        expect(back).toBeAllclose(identity(n), { atol: 1e-4 });
      }),
      { numRuns: 30 },
    );
  });

  it('leaves the arena as it was', () => {
    compute.scope(() => {
      const before = compute.matrix(1, 1).data.byteOffset;
      invertPositiveDefinite(positiveDefinite(90, 1), compute);
      expect(compute.matrix(1, 1).data.byteOffset).toBe(before + 64);
    });
  });
});

describe('withDamping', () => {
  const attempt = (damped: Matrix): Matrix | undefined =>
    invertPositiveDefinite(damped, compute) ? damped : undefined;

  it('adds nothing where nothing is needed, and leaves its argument alone', () => {
    const a = positiveDefinite(45, 2);
    const before = clone(a);
    const { result, damping } = compute.scope(() => withDamping(a, compute, attempt));
    expect(damping).toBe(0);
    expect(product(a, result)).toBeAllclose(identity(45), { atol: 5e-5 });
    expect(a.data).toHaveSameBits(before.data);
  });

  it.each([5, 40, 41, 90])('climbs as far as a matrix of %i rows and rank one needs', (n) => {
    const ones = zeros(n, n);
    ones.data.fill(4);
    const { result, damping } = compute.scope(() => withDamping(ones, compute, attempt));
    expect(damping).toBeGreaterThan(0);
    expect(damping).toBeLessThan(1e-3);
    expect(Array.from(result.data).every(Number.isFinite)).toBe(true);
  });

  it('offers 0, then 1e-6 to 1 times the mean diagonal by tens, each from the original', () => {
    const a = zeros(2, 2);
    a.data.set([1, 0.5, 0.5, 3]);
    const seen: number[][] = [];
    const climb = (): unknown =>
      compute.scope(() =>
        withDamping(a, compute, (damped) => {
          seen.push(Array.from(damped.data));
          damped.data.fill(Number.NaN);
          return undefined;
        }),
      );
    expect(climb).toThrowError(DoubleSparseError);
    expect(climb).toThrowError(expect.objectContaining({ code: 'not-positive-definite' }));
    const rungs = [0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1];
    expect(seen).toHaveLength(2 * rungs.length);
    for (const [index, rung] of rungs.entries()) {
      expect(seen[index]).toBeAllclose([1 + 2 * rung, 0.5, 0.5, 3 + 2 * rung], { rtol: 1e-6 });
    }
  });

  it('damps zeros by the identity', () => {
    const { result, damping } = compute.scope(() => withDamping(zeros(3, 3), compute, attempt));
    expect(damping).toBe(1e-6);
    expect(result).toBeAllclose([1e6, 0, 0, 0, 1e6, 0, 0, 0, 1e6], { rtol: 1e-5 });
  });

  it('refuses what is far from positive definite', () => {
    const a = zeros(2, 2);
    a.data.set([1, 9, 9, 1]);
    expect(() => compute.scope(() => withDamping(a, compute, attempt))).toThrowError(
      expect.objectContaining({ code: 'not-positive-definite', hint: expect.stringContaining('symmetric') }),
    );
  });
});
