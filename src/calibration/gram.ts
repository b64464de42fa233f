import { type Compute, mirrorLower } from '../linalg/compute.js';
import { whole } from '../linalg/engine.js';
import type { Matrix } from '../linalg/matrix.js';

/**
 * Adds the products of a sequence's inputs to a sum over sequences, in fp32: sum += X^T X. Only the lower triangle
 * need be right until {@link meanGram}.
 * @param inputs positions x in.
 * @param sum in x in.
 * @param first is this the first sequence? Then what `sum` holds is overwritten.
 */
export function addGram(compute: Compute, inputs: Matrix, sum: Matrix, first: boolean): void {
  const options = { transpose: true, alpha: 1, beta: first ? 0 : 1 };
  // Mirroring at every sequence would cost a quarter of the product itself.
  if (compute.engine.syrkLower) compute.engine.syrkLower(whole(inputs), whole(sum), options);
  else compute.syrk(inputs, sum, options);
}

/**
 * Adds the products of the inputs that a layer has in the dense model and behind the compressed prefix:
 * sum += D^T X.
 * @param dense positions x in, D.
 * @param inputs positions x in, X.
 * @param sum in x in; rows belong to D.
 * @param first is this the first sequence? Then what `sum` holds is overwritten.
 */
export function addCrossGram(compute: Compute, dense: Matrix, inputs: Matrix, sum: Matrix, first: boolean): void {
  compute.gemm(dense, inputs, sum, { transposeA: true, beta: first ? 0 : 1 });
}

/**
 * H = (1/N) sum x x^T from partial sums of {@link addGram}.
 * @param sums of different threads, added in this order; the first one becomes the result.
 * @param count N, the number of positions in all of them.
 */
export function meanGram(sums: readonly [Matrix, ...Matrix[]], count: number): Matrix {
  const result = meanCrossGram(sums, count);
  mirrorLower(result);
  return result;
}

/** C = (1/N) sum d x^T from partial sums of {@link addCrossGram}; see {@link meanGram}. */
export function meanCrossGram(sums: readonly [Matrix, ...Matrix[]], count: number): Matrix {
  const [result, ...others] = sums;
  const { data } = result;
  for (const other of others)
    for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) + (other.data[i] as number);
  for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) / count;
  return result;
}
