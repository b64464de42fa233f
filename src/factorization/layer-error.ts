import type { Compute } from '../linalg/compute.js';
import type { Matrix } from '../linalg/matrix.js';

/** tr(D H D^T) = sum of (D H) * D, D: out x in, H: in x in. Scratch: one matrix like D. */
export function quadraticForm(difference: Matrix, gram: Matrix, compute: Compute): number {
  return compute.scope(() => {
    const product = compute.matrix(difference.rows, difference.columns);
    compute.gemm(difference, gram, product);
    return compute.kernels.dot(product.data, difference.data);
  });
}

/**
 * The relative layer error tr((W - V) H (W - V)^T) / tr(W H W^T) of V = factors[0] * factors[1] * ... (method.md
 * section 1). 0 where both are 0; never below 0.
 */
export function relativeLayerError(weight: Matrix, gram: Matrix, factors: readonly Matrix[], compute: Compute): number {
  return compute.scope(() => {
    const difference = compute.matrix(weight.rows, weight.columns);
    difference.data.set(weight.data);
    const whole = quadraticForm(difference, gram, compute);
    let left = factors[0] as Matrix;
    for (const [index, right] of factors.entries()) {
      if (index === 0) continue;
      if (index === factors.length - 1) {
        compute.gemm(left, right, difference, { alpha: -1, beta: 1 });
        break;
      }
      const product = compute.matrix(left.rows, right.columns);
      compute.gemm(left, right, product);
      left = product;
    }
    if (factors.length === 1) compute.kernels.linearCombination(difference.data, 1, difference.data, -1, left.data);
    const error = quadraticForm(difference, gram, compute);
    return whole > 0 ? Math.max(0, error) / whole : 0;
  });
}
