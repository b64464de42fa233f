import { describe, expect, it } from 'vitest';
import { DoubleSparseError, type ErrorCode } from '../../src/errors.js';
import { factorize } from '../../src/factorization/factorize.js';
import { validateLayer, validateOptions } from '../../src/factorization/validate.js';
import { Compute } from '../../src/linalg/compute.js';
import { referenceEngine } from '../../src/linalg/engines/reference.js';
import { matrix, zeros } from '../../src/linalg/matrix.js';
import { randomLayer } from './random-layer.js';

function errorOf(work: () => unknown): DoubleSparseError {
  try {
    work();
  } catch (error) {
    if (error instanceof DoubleSparseError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('validateLayer', () => {
  const { weight, gram } = randomLayer(6, 5, 1);

  it('takes a proper layer', () => {
    expect(() => validateLayer(weight, gram)).not.toThrow();
    expect(() => validateLayer(matrix(1, 1, [0]), matrix(1, 1, [0]))).not.toThrow();
  });

  it.each<[string, ErrorCode, () => unknown]>([
    ['a Gram matrix of another size', 'shape-mismatch', () => validateLayer(weight, zeros(6, 6))],
    ['a Gram matrix that is not square', 'shape-mismatch', () => validateLayer(weight, zeros(6, 5))],
    ['an empty weight', 'shape-mismatch', () => validateLayer(zeros(0, 5), gram)],
    ['a wrong length', 'shape-mismatch', () => validateLayer({ ...weight, rows: 7 }, gram)],
    ['a negative diagonal', 'not-symmetric', () => validateLayer(matrix(1, 2, [1, 1]), matrix(2, 2, [1, 0, 0, -1]))],
    ['an asymmetric matrix', 'not-symmetric', () => validateLayer(matrix(1, 2, [1, 1]), matrix(2, 2, [1, 0.5, 0, 1]))],
  ])('refuses %s', (_case, code, work) => {
    expect(errorOf(work).code).toBe(code);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('names tensor and place of %s', (value) => {
    const broken = { ...weight, data: weight.data.slice() };
    broken.data[3 * 5 + 2] = value;
    const error = errorOf(() => validateLayer(broken, gram, 'model.layers.0.mlp.up_proj'));
    expect(error.code).toBe('non-finite-value');
    expect(error.data).toMatchObject({ name: 'model.layers.0.mlp.up_proj', row: 3, column: 2 });
    expect(error.message).toContain('row 3, column 2');
    const brokenGram = { ...gram, data: gram.data.slice() };
    brokenGram.data[7] = value;
    expect(errorOf(() => validateLayer(weight, brokenGram)).data).toMatchObject({ row: 1, column: 2 });
  });
});

describe('validateOptions', () => {
  const good = { sparsity: 0.5, effort: 'fast', seed: 0 } as const;
  it.each([-0.1, 1, 1.5, Number.NaN])('refuses sparsity %s', (sparsity) => {
    expect(errorOf(() => validateOptions({ ...good, sparsity })).code).toBe('option-out-of-range');
  });
  it('takes the ends of the range', () => {
    expect(() => validateOptions({ ...good, sparsity: 0 })).not.toThrow();
    expect(() => validateOptions({ ...good, sparsity: 0.999 })).not.toThrow();
  });
  it('refuses other efforts and seeds', () => {
    expect(errorOf(() => validateOptions({ ...good, effort: 'much' as 'max' })).code).toBe('option-out-of-range');
    expect(errorOf(() => validateOptions({ ...good, seed: 0.5 })).code).toBe('option-out-of-range');
  });
});

describe('factorize', () => {
  const compute = new Compute(referenceEngine);
  it('gives A, B and metrics', () => {
    const { weight, gram } = randomLayer(10, 14, 2);
    const { A, B, metrics } = factorize(weight, gram, { effort: 'fast' }, compute);
    expect([A.rows, A.columns, B.rows, B.columns]).toEqual([10, 10, 10, 14]);
    expect(metrics.nonzeros).toBe(70);
    expect(metrics.relativeError).toBeLessThan(0.5);
  });
  it('refuses bad input before any work', () => {
    const { weight, gram } = randomLayer(10, 14, 2);
    expect(errorOf(() => factorize(weight, zeros(3, 3), {}, compute)).code).toBe('shape-mismatch');
    expect(errorOf(() => factorize(weight, gram, { sparsity: 1 }, compute)).code).toBe('option-out-of-range');
  });
});
