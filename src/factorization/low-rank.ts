import { choleskyWithInverse, withDamping } from '../linalg/cholesky.js';
import type { Compute } from '../linalg/compute.js';
import { leadingEigenvectors, orthonormalizeColumns } from '../linalg/leading-eigenvectors.js';
import type { Matrix } from '../linalg/matrix.js';
import type { FactorizationMethod } from './factorization.js';
import { measured, type Solution } from './measure.js';

/** Squared singular values below this part of the largest are rounding of the fp32 products. */
const negligibleStrength = 1e-9;

/**
 * Low rank: the best V of rank r under H, r = floor(budget / (out + in)), by Eckart-Young for W H^(1/2) (as in
 * SVD-LLM, arXiv 2403.07378): V = U U^T W, U the r leading left singular vectors of W H^(1/2); factors U (out x r)
 * and U^T W (r x in). A budget below one column and row gives zero factors of rank 1: relative error 1.
 */
export const lowRank: FactorizationMethod = (weight, gram, options, compute) =>
  measured(weight, gram, options, compute, (w, h, budget): Solution => {
    const rank = Math.floor(budget / (w.rows + w.columns));
    if (rank === 0) return zeroFactors(w, compute);
    const { left, damping } = leadingOutputDirections(w, h, rank, compute);
    const right = compute.matrix(rank, w.columns);
    compute.gemm(left, w, right, { transposeA: true });
    return { factors: [left, right], damping };
  });

/** What is left when the budget does not pay for one nonzero column and row: out x 1 and 1 x in zeros. */
export function zeroFactors(weight: Matrix, compute: Compute): Solution {
  return { factors: [compute.matrix(weight.rows, 1), compute.matrix(1, weight.columns)] };
}

export interface OutputDirections {
  /** out x rank, orthonormal columns, strongest first; columns of negligible strength are zero. */
  readonly left: Matrix;
  /** The singular values of W H^(1/2), descending; 0 where negligible. */
  readonly strengths: Float32Array;
  /** Added to H, as a multiple of its mean diagonal, where its Cholesky factor was needed. */
  readonly damping: number;
}

/**
 * The leading left singular vectors of W H^(1/2), through the eigenproblem of the smaller side: of W H W^T (out x out),
 * or of L^T W^T W L (in x in) with H = L L^T. Allocated in the arena scope of the caller.
 * @param rank at most min(out, in).
 */
export function leadingOutputDirections(
  weight: Matrix,
  gram: Matrix,
  rank: number,
  compute: Compute,
): OutputDirections {
  const { rows: out, columns: inputs } = weight;
  const left = compute.matrix(out, rank);
  return compute.scope(() => {
    const half = compute.matrix(out, inputs);
    if (out <= inputs) {
      compute.gemm(weight, gram, half);
      const outer = compute.matrix(out, out);
      compute.gemm(half, weight, outer, { transposeB: true });
      const { vectors, values } = leadingEigenvectors(outer, rank, compute);
      const strengths = strengthsOf(values);
      compute.kernels.scaleColumns(left.data, vectors.data, strengths.map(Math.sign));
      return { left, strengths, damping: 0 };
    }
    const { result: factor, damping } = withDamping(gram, compute, (damped) =>
      choleskyWithInverse(damped, compute.matrix(inputs, inputs), compute) ? damped : undefined,
    );
    for (let i = 0; i < inputs; i++) factor.data.fill(0, i * inputs + i + 1, (i + 1) * inputs);
    compute.gemm(weight, factor, half);
    const inner = compute.matrix(inputs, inputs);
    compute.syrk(half, inner, { transpose: true });
    const { vectors, values } = leadingEigenvectors(inner, rank, compute);
    const strengths = strengthsOf(values);
    compute.kernels.scaleColumns(vectors.data, vectors.data, strengths.map(Math.sign));
    // M v_i = strength_i u_i, which rounding has left not quite orthogonal.
    compute.gemm(half, vectors, left);
    orthonormalizeColumns(left, compute);
    return { left, strengths, damping };
  });
}

function strengthsOf(values: Float64Array): Float32Array {
  const floor = (values[0] ?? 0) * negligibleStrength;
  return Float32Array.from(values, (value) => (value > floor ? Math.sqrt(value) : 0));
}
