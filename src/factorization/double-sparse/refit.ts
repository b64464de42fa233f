import type { Compute } from '../../linalg/compute.js';
import { conjugateGradients } from '../../linalg/conjugate-gradients.js';
import { curvaturePower, type FactoredLayer, type FactorProblem, leftProblem, rightProblem } from './factor-problem.js';

export interface RefitOptions {
  /** How often A, then B are refitted. */
  rounds: number;
  /** Conjugate gradient steps of each refit. */
  steps: number;
}

/**
 * Refits both factors in place on their supports under the full Gram matrix H, by Jacobi-preconditioned conjugate
 * gradients (method.md section 3). The layer error never rises.
 */
export function refitFactors(layer: FactoredLayer, { rounds, steps }: RefitOptions, compute: Compute): void {
  for (let round = 0; round < rounds; round++) {
    for (const problemOf of [leftProblem, rightProblem]) {
      compute.scope(() => refitFactor(problemOf(layer, compute), steps, compute));
    }
  }
}

/** Improves the factor of a problem on the support that it has, by conjugate gradients. */
export function refitFactor(problem: FactorProblem, steps: number, compute: Compute): void {
  compute.scope(() => {
    const support = compute.arena.vector(problem.factor.data.length);
    support.set(problem.factor.data);
    solveOnSupport(problem, support, steps, compute);
  });
}

/**
 * Improves the factor of a problem on a support by conjugate gradients.
 * @param support not zero where the factor may be.
 */
export function solveOnSupport(
  { factor, apply, residual, rowCurvature, columnCurvature }: FactorProblem,
  support: Float32Array,
  steps: number,
  compute: Compute,
): void {
  const { kernels } = compute;
  compute.scope(() => {
    const inverseRows = curvaturePower(rowCurvature, -1, compute);
    const inverseColumns = curvaturePower(columnCurvature, -1, compute);
    const applyOnSupport = (input: Float32Array, output: Float32Array): void => {
      apply(input, output);
      kernels.restrict(output, output, support);
    };
    const precondition = (input: Float32Array, output: Float32Array): void => {
      kernels.scaleRows(output, input, inverseRows);
      kernels.scaleColumns(output, output, inverseColumns);
    };
    kernels.restrict(residual.data, residual.data, support);
    conjugateGradients(applyOnSupport, residual.data, factor.data, precondition, { steps }, compute);
  });
}
