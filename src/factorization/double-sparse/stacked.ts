import type { Compute } from '../../linalg/compute.js';
import { countNonzeros, type Matrix, rowsOf } from '../../linalg/matrix.js';
import type { Factorization, FactorizationMetrics, FactorizationOptions } from '../factorization.js';
import { relativeLayerError } from '../layer-error.js';
import { nonzeroBudget } from '../measure.js';
import { doubleSparse } from './double-sparse.js';

/**
 * Factorises weights that read the same inputs (q, k and v of one block) as one matrix [W_1; W_2; ...] = [A_1; A_2;
 * ...] B with one shared B (method.md section 3): one square factor to store and multiply instead of several, and
 * nonzeros go to the member where they lower the sum of the (absolute) layer errors most.
 * @param weights out_i x in. @param gram in x in.
 * @returns for each member factors [A_i, B] (B the same object in all) and metrics. The nonzeros of B are charged to the
 *   members that have room in their own budgets; seconds and operations by rows.
 */
export function factorizeStacked(
  weights: readonly Matrix[],
  gram: Matrix,
  options: FactorizationOptions,
  compute: Compute,
): Factorization[] {
  const columns = gram.rows;
  const start = performance.now();
  const before = compute.products;
  return compute.scope(() => {
    const h = compute.arena.adopt(gram);
    const rows = weights.reduce((sum, weight) => sum + weight.rows, 0);
    const stacked = compute.matrix(rows, columns);
    let filled = 0;
    for (const weight of weights) {
      stacked.data.set(weight.data, filled);
      filled += weight.data.length;
    }
    const budgets = weights.map((weight) => nonzeroBudget(weight.data.length, options.sparsity));
    // Each member's budget is rounded down: their sum may be less than that of the whole.
    const budget = budgets.reduce((sum, each) => sum + each, 0);
    const { factors, metrics } = doubleSparse(stacked, h, { ...options, budget }, compute);
    const [a, b] = factors as [Matrix, Matrix];
    let row = 0;
    const parts = weights.map((weight) => {
      const part = rowsOf(a, row, weight.rows);
      row += weight.rows;
      return { ...part, data: part.data.slice() };
    });
    const charged = chargeShared(parts.map(countNonzeros), countNonzeros(b), budgets);
    const errors = weights.map((weight, index) =>
      compute.scope(() => {
        const local = [weight, parts[index] as Matrix, b].map((m) => compute.arena.adopt(m)) as [
          Matrix,
          Matrix,
          Matrix,
        ];
        return relativeLayerError(local[0], h, local.slice(1), compute);
      }),
    );
    const seconds = (performance.now() - start) / 1000;
    const { seconds: productSeconds, flops } = compute.products;
    return weights.map((weight, index): Factorization => {
      const share = weight.rows / rows;
      const own: FactorizationMetrics = {
        relativeError: errors[index] as number,
        nonzeros: charged[index] as number,
        budget: budgets[index] as number,
        seconds: seconds * share,
        productSeconds: (productSeconds - before.seconds) * share,
        productFlops: (flops - before.flops) * share,
        damping: metrics.damping,
      };
      return { factors: [parts[index] as Matrix, b], metrics: own };
    });
  });
}

/** own[i] plus a part of `shared` so that no member exceeds its budget while another has room. Sums are kept. */
function chargeShared(own: readonly number[], shared: number, budgets: readonly number[]): number[] {
  const charged = [...own];
  let left = shared;
  for (const [index, budget] of budgets.entries()) {
    const part = Math.min(left, Math.max(0, budget - (charged[index] as number)));
    charged[index] = (charged[index] as number) + part;
    left -= part;
  }
  charged[0] = (charged[0] ?? 0) + left;
  return charged;
}
