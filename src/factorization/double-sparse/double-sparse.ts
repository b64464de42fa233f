import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { Factorization, FactorizationMethod, FactorizationOptions } from '../factorization.js';
import { measured } from '../measure.js';
import { alternateScaled } from './alternate-scaled.js';
import { type FactorBudget, splitBudget } from './budget.js';
import type { FactoredLayer } from './factor-problem.js';
import { fixedMaskShare } from './fixed-mask.js';
import { refitFactors } from './refit.js';
import {
  type DoubleSparseSchedule,
  ridge,
  scalingExponent,
  schedules,
  shapeSettings,
  supportShare,
} from './schedule.js';
import { type FactorSizes, searchSupports } from './support-search.js';
import { swapSupports } from './support-swap.js';

/**
 * Double Sparse Factorization by our own schedule (schedule.ts): alternation under diag(H) with growing supports, then
 * under the full H a refit of both factors, a search over supports, and a last refit.
 */
export const doubleSparse: FactorizationMethod = (weight, gram, options, compute) =>
  factorizeBySchedule(weight, gram, options, schedules[options.effort], compute, false);

/** The same with the square factor's support chosen in advance, one for all layers of a shape (paper, section 3.4). */
export const doubleSparseFixedMask: FactorizationMethod = (weight, gram, options, compute) =>
  factorizeBySchedule(weight, gram, options, schedules[options.effort], compute, true);

function factorizeBySchedule(
  weight: Matrix,
  gram: Matrix,
  options: FactorizationOptions,
  { outerIterations, refit, swap, search, finalRefit }: DoubleSparseSchedule,
  compute: Compute,
  maskIsFixed: boolean,
): Factorization {
  const solve = (w: Matrix, h: Matrix, budget: number): { factors: Matrix[] } => {
    const { squareShare, openingPenalty, fullGramShare } = shapeSettings(w.rows, w.columns);
    const alternation = {
      outerIterations,
      steps: 2,
      supportSteps: 2,
      openingPenalty: (progress: number) => openingPenalty.first + openingPenalty.gain * progress ** 3,
      supportShare,
      ridge,
    };
    const settings = {
      alternation,
      scalingExponent,
      fullGramShare,
      squareShare: maskIsFixed ? fixedMaskShare(w.rows, w.columns) : squareShare,
      ...(maskIsFixed && { maskSeed: options.seed }),
    };
    const start = (nonzeros: number): FactoredLayer => {
      const factors = alternateScaled(w, h, Math.min(nonzeros, w.data.length), settings, compute);
      const layer = { weight: w, gram: h, ...factors };
      refitFactors(layer, refit, compute);
      return layer;
    };
    // A fixed mask must stay what it is; its other factor was chosen with it in place.
    if (search && !maskIsFixed) {
      const [first = 1, ...others] = search.startBudgets;
      const startAt = (multiple: number): FactoredLayer => start(Math.floor(multiple * budget));
      const starts = [startAt(first), ...others.map(startAt)] as const;
      const layer = searchSupports(starts, sizesOf(splitBudget(w, budget, squareShare)), search, compute);
      refitFactors(layer, finalRefit, compute);
      return { factors: [layer.a, layer.b] };
    }
    const layer = start(budget);
    if (!maskIsFixed) swapSupports(layer, swap, compute);
    refitFactors(layer, finalRefit, compute);
    return { factors: [layer.a, layer.b] };
  };
  return measured(weight, gram, options, compute, solve, { adopt: false });
}

const sizesOf = ({ squareIsLeft, square, other }: FactorBudget): FactorSizes =>
  squareIsLeft ? { a: square, b: other } : { a: other, b: square };
