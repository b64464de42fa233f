import type { Compute } from '../../linalg/compute.js';
import { diagonal, type Matrix } from '../../linalg/matrix.js';

/**
 * The layer error as a quadratic in one factor X, the other fixed, under the full Gram matrix H (method.md section 3):
 * for A the operator X -> X (B H B^T), for B X -> (A^T A) X H. Everything lives in the arena.
 */
export interface FactorProblem {
  /** The factor; solvers improve it in place. Its support is where it is not zero. */
  readonly factor: Matrix;
  /** Writes the operator's value at `input` into `output`; both have the factor's shape. */
  apply(input: Float32Array, output: Float32Array): void;
  /** target = right-hand side - operator(factor), over all positions: minus half the gradient. */
  residual(target: Matrix): void;
  /** Diagonal of the operator: rowCurvature[i] * columnCurvature[j]. */
  readonly rowCurvature: Float32Array;
  readonly columnCurvature: Float32Array;
}

/**
 * The problem of A (out x k) for a fixed B (k x in): right-hand side W H B^T.
 * @param weightGram W H, out x in.
 */
export function leftProblem(weightGram: Matrix, gram: Matrix, a: Matrix, b: Matrix, compute: Compute): FactorProblem {
  const inner = compute.matrix(b.rows, b.rows);
  compute.scope(() => {
    const product = compute.matrix(b.rows, b.columns);
    compute.gemm(b, gram, product);
    compute.gemm(product, b, inner, { transposeB: true });
  });
  return {
    factor: a,
    apply: (input, output) => compute.gemm({ ...a, data: input }, inner, { ...a, data: output }),
    residual(target) {
      compute.gemm(weightGram, b, target, { transposeB: true });
      compute.gemm(a, inner, target, { alpha: -1, beta: 1 });
    },
    rowCurvature: compute.arena.vector(a.rows).fill(1),
    columnCurvature: vectorOf(diagonal(inner), compute),
  };
}

/** The problem of B (k x in) for a fixed A (out x k): right-hand side A^T W H. */
export function rightProblem(weightGram: Matrix, gram: Matrix, a: Matrix, b: Matrix, compute: Compute): FactorProblem {
  const inner = compute.matrix(a.columns, a.columns);
  compute.syrk(a, inner, { transpose: true });
  const half = compute.matrix(b.rows, b.columns);
  return {
    factor: b,
    apply(input, output) {
      compute.gemm(inner, { ...b, data: input }, half);
      compute.gemm(half, gram, { ...b, data: output });
    },
    residual(target) {
      compute.gemm(a, weightGram, target, { transposeA: true });
      compute.gemm(inner, b, half);
      compute.gemm(half, gram, target, { alpha: -1, beta: 1 });
    },
    rowCurvature: vectorOf(diagonal(inner), compute),
    columnCurvature: vectorOf(diagonal(gram), compute),
  };
}

function vectorOf(values: Float64Array, compute: Compute): Float32Array {
  const result = compute.arena.vector(values.length);
  result.set(values);
  return result;
}
