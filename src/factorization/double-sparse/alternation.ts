import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { FactorBudget } from './budget.js';
import type { GramMetric } from './gram-metric.js';
import { type FactorState, proximalUpdate, type Side } from './proximal-update.js';
import { copyTarget, type ScaledTarget } from './scaled-target.js';

/** Settings of the alternation, some as functions of its progress min(1, iteration / (outerIterations - 3)). */
export interface AlternationSchedule {
  outerIterations: number;
  /** Proximal steps of one update, and in how many of them the support is chosen. */
  steps: number;
  supportSteps: number;
  /** Penalty of the opening solve. */
  openingPenalty: (progress: number) => number;
  /** Part of its budget that a factor's support holds. */
  supportShare: { square: (progress: number) => number; other: (progress: number) => number };
  /** Ridge of the normalised Gram matrices. */
  ridge: number;
}

export interface Alternation {
  /** The square factor, k x k, and the other one. */
  readonly square: FactorState;
  readonly other: FactorState;
}

/**
 * The start (method.md section 2 step 3): square factor = identity, other = the target pruned by magnitude to half
 * of its budget, duals zero.
 * @param target Y, out x in.
 * @param square k x k of zeros. @param other of the target's shape; both become the primal iterates.
 */
export function startAlternation(
  target: ScaledTarget,
  budget: FactorBudget,
  square: Matrix,
  other: Matrix,
  compute: Compute,
): Alternation {
  const { inner } = budget;
  for (let i = 0; i < inner; i++) square.data[i * inner + i] = 1;
  compute.scope(() => {
    const rest = compute.matrix(other.rows, other.columns);
    copyTarget(target, rest, compute);
    compute.splitLargest(rest.data, Math.floor(budget.other / 2), other.data);
  });
  const withDual = (primal: Matrix): FactorState => ({ primal, dual: compute.matrix(primal.rows, primal.columns) });
  return { square: withDual(square), other: withDual(other) };
}

/** What is fixed beside the budget, if anything. */
export interface AlternationExtras {
  /** Fixed support of the square factor. */
  squareSupport?: Matrix;
  /** Metric of the residual's rows in updates of A; the identity if absent. */
  metric?: GramMetric;
}

/**
 * Alternating ADMM (paper, Algorithm 2): each outer iteration updates the square factor with the other fixed, then
 * the other with the square one fixed.
 * @param target Y, out x in.
 */
export function alternate(
  target: ScaledTarget,
  { square, other }: Alternation,
  budget: FactorBudget,
  schedule: AlternationSchedule,
  compute: Compute,
  { squareSupport, metric }: AlternationExtras = {},
): void {
  const squareSide: Side = budget.squareIsLeft ? 'left' : 'right';
  const otherSide: Side = budget.squareIsLeft ? 'right' : 'left';
  const { outerIterations, steps, supportSteps, ridge, supportShare } = schedule;
  for (let iteration = 0; iteration < outerIterations; iteration++) {
    const progress = Math.min(1, iteration / Math.max(1, outerIterations - 3));
    const common = { steps, supportSteps, ridge, openingPenalty: schedule.openingPenalty(progress) };
    const optionsOf = (side: Side, count: number) => ({
      ...common,
      count: Math.max(1, Math.floor(count)),
      ...(metric && side === 'left' && { metric }),
    });
    const squareOptions = optionsOf(squareSide, budget.square * supportShare.square(progress));
    const fixed = squareSupport && { support: squareSupport };
    proximalUpdate(squareSide, other.primal, target, square, { ...squareOptions, ...fixed }, compute);
    const otherOptions = optionsOf(otherSide, budget.other * supportShare.other(progress));
    proximalUpdate(otherSide, square.primal, target, other, otherOptions, compute);
  }
}
