import type {
  Factorization,
  FactorizationMethod,
  FactorizationOptions,
} from '../../src/factorization/factorization.js';
import { Compute } from '../../src/linalg/compute.js';
import { referenceEngine } from '../../src/linalg/engines/reference.js';
import { type Matrix, zeros } from '../../src/linalg/matrix.js';

export const compute = new Compute(referenceEngine);

export const optionsAt = (sparsity: number): FactorizationOptions => ({ sparsity, effort: 'default', seed: 3 });

/** A method on the reference engine. */
export const run = (method: FactorizationMethod, weight: Matrix, gram: Matrix, sparsity: number): Factorization => {
  return method(weight, gram, optionsAt(sparsity), compute);
};

/** The product of all factors. */
export function product(factors: readonly Matrix[]): Matrix {
  return factors.reduce((left, right) => {
    const result = zeros(left.rows, right.columns);
    compute.gemm(left, right, result);
    return result;
  });
}
