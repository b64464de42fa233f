import type { Compute } from './compute.js';
import type { Matrix } from './matrix.js';

/** Part of its original diagonal entry below which a pivot is rounding of the fp32 entries. */
const negligiblePivot = 1e-7;

/**
 * The inverse of a symmetric positive definite matrix in float64, n x n row-major, through its Cholesky factor. n^3 / 2
 * multiplications, two at a time: where the digits matter; else see {@link invertPositiveDefinite}.
 * @param a its lower triangle is read.
 * @param inverse receives n x n numbers; fastest in the arena of `compute`.
 * @returns false where the matrix is not positive definite, or so nearly singular that fp32 rounding of its entries
 *   decides; `inverse` is scratch then.
 */
export function invertInFloat64(a: Matrix, inverse: Float64Array, compute: Compute): boolean {
  return compute.scope(() => invert(a, inverse, compute));
}

function invert(a: Matrix, inverse: Float64Array, { arena, kernels }: Compute): boolean {
  const n = a.rows;
  // The factor takes the room of the result, which needs only the inverse of the factor.
  const upper = inverse;
  const current = arena.doubles(n);
  const coefficients = arena.doubles(n);
  for (let i = 0; i < n; i++) {
    const length = n - i;
    for (let j = 0; j < length; j++) current[j] = a.data[(i + j) * n + i];
    for (let k = 0; k < i; k++) coefficients[k] = upper[k * n + i];
    kernels.subtractRows(current.subarray(0, length), upper.subarray(i), n, i, coefficients);
    if (!(current[0] > negligiblePivot * a.data[i * n + i])) return false;
    const scale = 1 / Math.sqrt(current[0]);
    for (let j = 0; j < length; j++) upper[i * n + i + j] = current[j] * scale;
  }
  // Rows of L^-1, L = upper^T.
  const lowerInverse = arena.doubles(n * n);
  for (let i = 0; i < n; i++) {
    current.fill(0, 0, i);
    current[i] = 1;
    for (let k = 0; k < i; k++) coefficients[k] = upper[k * n + i];
    kernels.subtractRows(current.subarray(0, i), lowerInverse, n, i, coefficients);
    const scale = 1 / upper[i * n + i];
    for (let j = 0; j <= i; j++) lowerInverse[i * n + j] = current[j] * scale;
  }
  for (let i = 0; i < n; i++) {
    current.fill(0, 0, i + 1);
    for (let k = i; k < n; k++) coefficients[k - i] = -lowerInverse[k * n + i];
    kernels.subtractRows(current.subarray(0, i + 1), lowerInverse.subarray(i * n), n, n - i, coefficients);
    for (let j = 0; j <= i; j++) {
      inverse[i * n + j] = current[j];
      inverse[j * n + i] = current[j];
    }
  }
  return true;
}
