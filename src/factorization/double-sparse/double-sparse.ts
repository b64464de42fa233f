import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { Factorization, FactorizationMethod, FactorizationOptions } from '../factorization.js';
import { measured } from '../measure.js';
import type { FactoredLayer } from './factor-problem.js';
import { refitFactors } from './refit.js';
import { type DoubleSparseSchedule, schedules } from './schedule.js';
import { factorSizes, startFactors } from './start-factors.js';
import { searchSupports } from './support-search.js';
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
  schedule: DoubleSparseSchedule,
  compute: Compute,
  maskIsFixed: boolean,
): Factorization {
  const { swap, search, finalRefit } = schedule;
  const solve = (w: Matrix, h: Matrix, budget: number): { factors: Matrix[] } => {
    const start = (nonzeros: number): FactoredLayer =>
      startFactors(w, h, nonzeros, schedule, compute, maskIsFixed ? options.seed : undefined);
    let layer: FactoredLayer;
    // A fixed mask must stay what it is; its other factor was chosen with it in place.
    if (search && !maskIsFixed) {
      const [first = 1, ...others] = search.startBudgets;
      const startAt = (multiple: number): FactoredLayer => start(Math.floor(multiple * budget));
      const starts = [startAt(first), ...others.map(startAt)] as const;
      layer = searchSupports(starts, factorSizes(w, budget), search, compute);
    } else {
      layer = start(budget);
      if (!maskIsFixed) swapSupports(layer, swap, compute);
    }
    refitFactors(layer, finalRefit, compute);
    return { factors: [layer.a, layer.b] };
  };
  return measured(weight, gram, options, compute, solve, { adopt: false });
}
