import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { Factorization, FactorizationOptions } from '../factorization.js';
import { measured } from '../measure.js';
import { refitFactors } from './refit.js';
import { factorSizes, startFactors } from './start-factors.js';
import { prune } from './support-search.js';
import { swapSupports } from './support-swap.js';

/** Of the start, at the largest budget; then between two levels. */
const outerIterations = 28;
const refit = { rounds: 1, steps: 8 };
const steps = {
  pruneRounds: 8,
  pruneFraction: 0.05,
  swap: { rounds: 4, fraction: 0.1, steps: 6 },
};

/**
 * Double Sparse Factorization at several budgets (nonzeros) from one path: the alternation at the largest budget, then
 * supports pruned from level to level, swapped and refitted under the full Gram matrix. Errors are between
 * those of the efforts `default` and `search`, at every level much the same multiple of the latter's (1.2 to 1.6 for
 * convolutions), for less than the time of one search.
 * @returns one result for each budget, in their order; seconds of each are those of its own part of the path.
 */
export function doubleSparseLevels(
  weight: Matrix,
  gram: Matrix,
  budgets: readonly number[],
  options: FactorizationOptions,
  compute: Compute,
): Factorization[] {
  return compute.scope(() => {
    const [w, h] = [compute.arena.adopt(weight), compute.arena.adopt(gram)];
    const descending = [...new Set(budgets)].sort((a, b) => b - a);
    const layer = startFactors(w, h, descending[0] ?? 0, { outerIterations, refit }, compute);
    const results = new Map<number, Factorization>();
    for (const budget of descending) {
      const solve = () => {
        prune(layer, factorSizes(w, budget), steps, compute);
        swapSupports(layer, steps.swap, compute);
        refitFactors(layer, refit, compute);
        return { factors: [layer.a, layer.b] };
      };
      results.set(budget, measured(w, h, { ...options, budget }, compute, solve, { adopt: false }));
    }
    return budgets.map((budget) => results.get(budget) as Factorization);
  });
}
