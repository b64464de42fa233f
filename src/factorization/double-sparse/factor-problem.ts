import type { Compute } from '../../linalg/compute.js';
import { diagonal, type Matrix } from '../../linalg/matrix.js';

/** A layer and the factors that stand for it. */
export interface FactoredLayer {
  /** out x in */
  readonly weight: Matrix;
  /** H, in x in */
  readonly gram: Matrix;
  /** out x k, in the arena; solvers change it in place. */
  readonly a: Matrix;
  /** k x in, likewise. */
  readonly b: Matrix;
}

/**
 * The layer error as a quadratic in one factor X, the other fixed, under the full Gram matrix H (method.md section 3):
 * for A the operator X -> X (B H B^T), for B X -> (A^T A) X H. Everything lives in the arena.
 */
export interface FactorProblem {
  /** The factor; solvers improve it in place. Its support is where it is not zero. */
  readonly factor: Matrix;
  /** Writes the operator's value at `input` into `output`; both have the factor's shape. */
  apply(input: Float32Array, output: Float32Array): void;
  /** Right-hand side - operator(factor), over all positions: minus half the gradient of the layer error. */
  readonly residual: Matrix;
  /** Diagonal of the operator: rowCurvature[i] * columnCurvature[j]. */
  readonly rowCurvature: Float32Array;
  readonly columnCurvature: Float32Array;
}

/** Curvatures below this are no curvature: the unknown has no influence. */
const leastCurvature = 1e-30;

/** The problem of A for a fixed B: residual (W - A B) H B^T. */
export function leftProblem({ weight, gram, a, b }: FactoredLayer, compute: Compute): FactorProblem {
  const inner = compute.matrix(b.rows, b.rows);
  const residual = compute.matrix(a.rows, a.columns);
  compute.scope(() => {
    const product = compute.matrix(b.rows, b.columns);
    compute.gemm(b, gram, product);
    compute.gemm(product, b, inner, { transposeB: true });
    const difference = layerDifference(weight, a, b, compute);
    compute.gemm(difference, product, residual, { transposeB: true });
  });
  return {
    factor: a,
    apply: (input, output) => compute.gemm({ ...a, data: input }, inner, { ...a, data: output }),
    residual,
    rowCurvature: compute.arena.vector(a.rows).fill(1),
    columnCurvature: vectorOf(diagonal(inner), compute),
  };
}

/** The problem of B for a fixed A: residual A^T (W - A B) H. */
export function rightProblem({ weight, gram, a, b }: FactoredLayer, compute: Compute): FactorProblem {
  const inner = compute.matrix(a.columns, a.columns);
  compute.syrk(a, inner, { transpose: true });
  const half = compute.matrix(b.rows, b.columns);
  const residual = compute.matrix(b.rows, b.columns);
  compute.scope(() => compute.gemm(a, layerDifference(weight, a, b, compute), half, { transposeA: true }));
  compute.gemm(half, gram, residual);
  return {
    factor: b,
    apply(input, output) {
      compute.gemm(inner, { ...b, data: input }, half);
      compute.gemm(half, gram, { ...b, data: output });
    },
    residual,
    rowCurvature: vectorOf(diagonal(inner), compute),
    columnCurvature: vectorOf(diagonal(gram), compute),
  };
}

/** curvature^power, 0 where there is none. In the arena. */
export function curvaturePower(curvature: Float32Array, power: number, compute: Compute): Float32Array {
  const result = compute.arena.vector(curvature.length);
  for (const [i, value] of curvature.entries()) result[i] = value > leastCurvature ? value ** power : 0;
  return result;
}

/** W - A B */
function layerDifference(weight: Matrix, a: Matrix, b: Matrix, compute: Compute): Matrix {
  const difference = compute.matrix(weight.rows, weight.columns);
  difference.data.set(weight.data);
  compute.gemm(a, b, difference, { alpha: -1, beta: 1 });
  return difference;
}

function vectorOf(values: Float64Array, compute: Compute): Float32Array {
  const result = compute.arena.vector(values.length);
  result.set(values);
  return result;
}
