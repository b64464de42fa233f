import type { Compute } from '../../linalg/compute.js';
import { countNonzeros, type Matrix } from '../../linalg/matrix.js';
import { type FactorProblem, leftProblem, rightProblem } from './factor-problem.js';
import { solveOnSupport } from './refit.js';

export interface SupportSwapOptions {
  rounds: number;
  /** Part of a factor's nonzeros that moves in the first round; falls linearly to nothing. */
  fraction: number;
  /** Conjugate gradient steps on each new support. */
  steps: number;
}

/**
 * A search over supports under the full Gram matrix, after the alternation has chosen them under its diagonal: each
 * round drops a factor's weakest nonzeros (least x^2 d, d the curvature: what the error rises by if nothing else
 * moves), admits as many absent ones of largest promise (g^2 / d, g the gradient: what it falls by), and refits by
 * conjugate gradients; A first, then B. The numbers of nonzeros stay. Changes A (out x k) and B (k x in) in place.
 * @param weightGram W H, out x in.
 */
export function swapSupports(
  weightGram: Matrix,
  gram: Matrix,
  a: Matrix,
  b: Matrix,
  { rounds, fraction, steps }: SupportSwapOptions,
  compute: Compute,
): void {
  for (let round = 0; round < rounds; round++) {
    const part = fraction * (1 - round / rounds);
    for (const problemOf of [leftProblem, rightProblem]) {
      compute.scope(() => swapOnce(problemOf(weightGram, gram, a, b, compute), part, steps, compute));
    }
  }
}

function swapOnce(problem: FactorProblem, part: number, steps: number, compute: Compute): void {
  const { kernels } = compute;
  const { factor, apply } = problem;
  const nonzeros = countNonzeros(factor);
  const moved = Math.min(Math.floor(part * nonzeros), factor.data.length - nonzeros);
  if (moved === 0) return;
  const residual = compute.matrix(factor.rows, factor.columns);
  problem.residual(residual);
  const support = compute.matrix(factor.rows, factor.columns);
  compute.scope(() => {
    const ranked = compute.matrix(factor.rows, factor.columns);
    rank(ranked, factor, problem, 1, compute);
    compute.splitLargest(ranked.data, nonzeros - moved, support.data);
    // What fell out of the support: the residual gains the operator's value there.
    const dropped = ranked;
    kernels.restrict(dropped.data, factor.data, support.data);
    kernels.linearCombination(dropped.data, 1, factor.data, -1, dropped.data);
    // The entries that were absent before are the candidates: not those just dropped.
    const promise = compute.matrix(factor.rows, factor.columns);
    rank(promise, residual, problem, -1, compute);
    excludeSupport(promise.data, factor.data);
    const admitted = compute.matrix(factor.rows, factor.columns);
    compute.splitLargest(promise.data, moved, admitted.data);
    kernels.linearCombination(support.data, 1, support.data, 1, admitted.data);
    kernels.linearCombination(factor.data, 1, factor.data, -1, dropped.data);
    apply(dropped.data, promise.data);
    kernels.linearCombination(residual.data, 1, residual.data, 1, promise.data);
  });
  solveOnSupport(problem, support.data, residual.data, steps, compute);
}

/** target = x * d^(power / 2): magnitudes in the order of x^2 d^power. Without curvature an entry has no rank. */
function rank(
  target: Matrix,
  x: Matrix,
  { rowCurvature, columnCurvature }: FactorProblem,
  power: 1 | -1,
  compute: Compute,
): void {
  const { kernels, arena } = compute;
  compute.scope(() => {
    const roots = (curvature: Float32Array): Float32Array => {
      const result = arena.vector(curvature.length);
      for (let i = 0; i < curvature.length; i++)
        result[i] = (curvature[i] as number) > 0 ? (curvature[i] as number) ** (power / 2) : 0;
      return result;
    };
    kernels.scaleRows(target.data, x.data, roots(rowCurvature));
    kernels.scaleColumns(target.data, target.data, roots(columnCurvature));
  });
}

function excludeSupport(target: Float32Array, support: Float32Array): void {
  for (let i = 0; i < target.length; i++) if (support[i] !== 0) target[i] = 0;
}
