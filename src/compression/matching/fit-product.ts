import { solveOnSupport } from '../../factorization/double-sparse/refit.js';
import type { Compute } from '../../linalg/compute.js';
import { diagonal, type Matrix } from '../../linalg/matrix.js';
import { denseSegment, type Parameter, type Segment } from '../../training/parameter.js';
import type { OutputStatistics } from './part-losses.js';

/** Conjugate gradient steps of one factor. */
const steps = 6;

/**
 * Lowers tr(V G V^T) - 2 tr(V C^T), V the product of the factors: the error of a part's last product over all positions,
 * by conjugate gradients on the supports, first of A, then of B.
 * @param values receive the factors' new values.
 */
export function fitProduct(
  values: Float32Array,
  { factors: [a, b] }: Parameter,
  { gram, cross }: OutputStatistics,
  compute: Compute,
): void {
  compute.scope(() => {
    const [h, c] = [compute.arena.adopt(gram), compute.arena.adopt(cross)];
    if (b) {
      fitLeft(values, a, denseSegment(compute, values, b), h, c, compute);
      fitRight(values, denseSegment(compute, values, a), b, h, c, compute);
    } else fitFactor(values, a, h, c, compute);
  });
}

/** A for a fixed B: A (B H B^T) = C B^T */
function fitLeft(values: Float32Array, a: Segment, b: Matrix, h: Matrix, c: Matrix, compute: Compute): void {
  compute.scope(() => {
    const product = compute.matrix(b.rows, b.columns);
    compute.gemm(b, h, product);
    const inner = compute.matrix(b.rows, b.rows);
    compute.gemm(product, b, inner, { transposeB: true });
    const wanted = compute.matrix(a.rows, a.columns);
    compute.gemm(c, b, wanted, { transposeB: true });
    fitFactor(values, a, inner, wanted, compute);
  });
}

/** B for a fixed A: (A^T A) B H = A^T C */
function fitRight(values: Float32Array, a: Matrix, b: Segment, h: Matrix, c: Matrix, compute: Compute): void {
  compute.scope(() => {
    const inner = compute.matrix(a.columns, a.columns);
    compute.syrk(a, inner, { transpose: true });
    const wanted = compute.matrix(b.rows, b.columns);
    compute.gemm(a, c, wanted, { transposeA: true });
    fitFactor(values, b, h, wanted, compute, inner);
  });
}

/** X with left X right = wanted on its support; left is the identity if absent. */
function fitFactor(
  values: Float32Array,
  segment: Segment,
  right: Matrix,
  wanted: Matrix,
  compute: Compute,
  left?: Matrix,
): void {
  const { rows, columns, offset, positions = new Uint32Array() } = segment;
  compute.scope(() => {
    const factor = denseSegment(compute, values, segment);
    const half = compute.matrix(rows, columns);
    const apply = (input: Float32Array, output: Float32Array): void => {
      if (left) compute.gemm(left, { rows, columns, data: input }, half);
      compute.gemm(left ? half : { rows, columns, data: input }, right, { rows, columns, data: output });
    };
    const residual = compute.matrix(rows, columns);
    apply(factor.data, residual.data);
    compute.kernels.linearCombination(residual.data, -1, residual.data, 1, wanted.data);
    const support = compute.arena.vector(rows * columns);
    for (const position of positions) support[position] = 1;
    const curvature = (matrix: Matrix | undefined, length: number): Float32Array => {
      const result = compute.arena.vector(length).fill(1);
      if (matrix) result.set(diagonal(matrix));
      return result;
    };
    const problem = {
      ...{ factor, apply, residual },
      ...{ rowCurvature: curvature(left, rows), columnCurvature: curvature(right, columns) },
    };
    solveOnSupport(problem, support, steps, compute);
    for (const [i, position] of positions.entries()) values[offset + i] = factor.data[position] as number;
  });
}
