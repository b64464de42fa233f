import type { Compute } from '../../linalg/compute.js';
import { conjugateGradients } from '../../linalg/conjugate-gradients.js';
import type { Matrix } from '../../linalg/matrix.js';
import { type FactorProblem, leftProblem, rightProblem } from './factor-problem.js';

/** Curvatures below this are no curvature: the unknown stays as it is. */
const leastCurvature = 1e-30;

export interface RefitOptions {
  /** How often A, then B are refitted. */
  rounds: number;
  /** Conjugate gradient steps of each refit. */
  steps: number;
}

/**
 * Refits A (out x k) and B (k x in) in place on their supports under the full Gram matrix H, by Jacobi-preconditioned
 * conjugate gradients (method.md section 3). The layer error never rises.
 * @param weightGram W H, out x in.
 */
export function refitFactors(
  weightGram: Matrix,
  gram: Matrix,
  a: Matrix,
  b: Matrix,
  { rounds, steps }: RefitOptions,
  compute: Compute,
): void {
  for (let round = 0; round < rounds; round++) {
    for (const problemOf of [leftProblem, rightProblem]) {
      compute.scope(() => {
        const problem = problemOf(weightGram, gram, a, b, compute);
        const residual = compute.matrix(problem.factor.rows, problem.factor.columns);
        problem.residual(residual);
        solveOnSupport(problem, problem.factor.data, residual.data, steps, compute);
      });
    }
  }
}

/**
 * Improves the factor on a support by conjugate gradients.
 * @param support not zero where the factor may be.
 * @param residual of the factor; overwritten.
 */
export function solveOnSupport(
  { factor, apply, rowCurvature, columnCurvature }: FactorProblem,
  support: Float32Array,
  residual: Float32Array,
  steps: number,
  compute: Compute,
): void {
  const { kernels } = compute;
  compute.scope(() => {
    const inverseDiagonal = compute.arena.vector(factor.data.length);
    for (let i = 0, at = 0; i < factor.rows; i++) {
      for (let j = 0; j < factor.columns; j++, at++) {
        const curvature = (rowCurvature[i] as number) * (columnCurvature[j] as number);
        inverseDiagonal[at] = support[at] === 0 || !(curvature > leastCurvature) ? 0 : 1 / curvature;
      }
    }
    const applyOnSupport = (input: Float32Array, output: Float32Array): void => {
      apply(input, output);
      kernels.restrict(output, output, inverseDiagonal);
    };
    kernels.restrict(residual, residual, inverseDiagonal);
    conjugateGradients(applyOnSupport, residual, factor.data, inverseDiagonal, { steps }, compute);
  });
}
