import type { Compute } from '../../linalg/compute.js';
import { countNonzeros, type Matrix } from '../../linalg/matrix.js';
import { curvaturePower, type FactoredLayer, type FactorProblem, leftProblem, rightProblem } from './factor-problem.js';
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
 * conjugate gradients; A first, then B. The numbers of nonzeros never rise. Changes the factors in place.
 */
export function swapSupports(
  layer: FactoredLayer,
  { rounds, fraction, steps }: SupportSwapOptions,
  compute: Compute,
): void {
  for (let round = 0; round < rounds; round++) {
    const part = fraction * (1 - round / rounds);
    for (const problemOf of [leftProblem, rightProblem]) {
      compute.scope(() => swapOnce(problemOf(layer, compute), part, steps, compute));
    }
  }
}

function swapOnce(problem: FactorProblem, part: number, steps: number, compute: Compute): void {
  const { data } = problem.factor;
  const nonzeros = countNonzeros(problem.factor);
  const moved = Math.min(Math.floor(part * nonzeros), data.length - nonzeros);
  if (moved > 0) moveSupport(problem, nonzeros - moved, moved, steps, compute);
}

/**
 * Keeps a number of a factor's nonzeros, admits a number of entries that are absent now, by the criteria of
 * {@link swapSupports}, and refits on the new support.
 */
export function moveSupport(
  problem: FactorProblem,
  keptCount: number,
  admitted: number,
  steps: number,
  compute: Compute,
): void {
  const { kernels } = compute;
  const { factor, residual, apply } = problem;
  const support = compute.arena.vector(factor.data.length);
  compute.scope(() => {
    const ranked = compute.matrix(factor.rows, factor.columns);
    // The entries that are absent now are the candidates: not those that will be dropped.
    rank(ranked, residual, problem, -1, compute);
    excludeSupport(ranked.data, factor.data);
    compute.splitLargest(ranked.data, admitted, support);
    const kept = compute.matrix(factor.rows, factor.columns);
    rank(ranked, factor, problem, 1, compute);
    compute.splitLargest(ranked.data, keptCount, kept.data);
    kernels.linearCombination(support, 1, support, 1, kept.data);
    // What leaves the support: the residual gains the operator's value there.
    const dropped = kept;
    kernels.restrict(dropped.data, factor.data, kept.data);
    kernels.linearCombination(dropped.data, 1, factor.data, -1, dropped.data);
    kernels.linearCombination(factor.data, 1, factor.data, -1, dropped.data);
    apply(dropped.data, ranked.data);
    kernels.linearCombination(residual.data, 1, residual.data, 1, ranked.data);
  });
  solveOnSupport(problem, support, steps, compute);
}

/** target = x * d^(power / 2): magnitudes in the order of x^2 d^power. Without curvature an entry has no rank. */
function rank(target: Matrix, x: Matrix, problem: FactorProblem, power: 1 | -1, compute: Compute): void {
  compute.scope(() => {
    const rows = curvaturePower(problem.rowCurvature, power / 2, compute);
    const columns = curvaturePower(problem.columnCurvature, power / 2, compute);
    compute.kernels.scaleRows(target.data, x.data, rows);
    compute.kernels.scaleColumns(target.data, target.data, columns);
  });
}

function excludeSupport(target: Float32Array, support: Float32Array): void {
  for (let i = 0; i < target.length; i++) if (support[i] !== 0) target[i] = 0;
}
