import type { Compute } from './compute.js';

export interface ConjugateGradientsOptions {
  /** Most steps taken. */
  steps: number;
  /** Stop when the preconditioned residual r^T M^-1 r has fallen to this part of its start (default 1e-10). */
  tolerance?: number;
}

/**
 * Preconditioned conjugate gradients for a symmetric positive semidefinite operator on vectors of the arena.
 * Improves `solution` in place; in exact arithmetic no step raises the quadratic that the system belongs to.
 * @param apply writes the operator's value at `input` into `output`.
 * @param residual right-hand side minus the operator at `solution`; overwritten.
 * @param precondition writes M^-1 times `input` into `output`.
 * @returns the steps taken.
 */
export function conjugateGradients(
  apply: (input: Float32Array, output: Float32Array) => void,
  residual: Float32Array,
  solution: Float32Array,
  precondition: (input: Float32Array, output: Float32Array) => void,
  { steps, tolerance = 1e-10 }: ConjugateGradientsOptions,
  compute: Compute,
): number {
  const { kernels } = compute;
  return compute.scope(() => {
    const direction = compute.arena.vector(residual.length);
    // The operator's image and the preconditioned residual are never needed at one time.
    const scratch = compute.arena.vector(residual.length);
    precondition(residual, scratch);
    direction.set(scratch);
    let energy = kernels.dot(residual, scratch);
    const target = energy * tolerance;
    for (let step = 0; step < steps; step++) {
      if (!(energy > target)) return step;
      apply(direction, scratch);
      const curvature = kernels.dot(direction, scratch);
      if (!(curvature > 0)) return step;
      const length = energy / curvature;
      kernels.linearCombination(solution, 1, solution, length, direction);
      kernels.linearCombination(residual, 1, residual, -length, scratch);
      precondition(residual, scratch);
      const next = kernels.dot(residual, scratch);
      kernels.linearCombination(direction, 1, scratch, next / energy, direction);
      energy = next;
    }
    return steps;
  });
}
