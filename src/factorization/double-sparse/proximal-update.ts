import { DoubleSparseError } from '../../errors.js';
import { invertPositiveDefinite } from '../../linalg/cholesky.js';
import type { Compute } from '../../linalg/compute.js';
import { diagonal, type Matrix } from '../../linalg/matrix.js';
import { type GramMetric, multiplyByMetric } from './gram-metric.js';
import { leftTimesTarget, type ScaledTarget, targetTimesRight } from './scaled-target.js';

/** Which factor of A * B an update solves for: `left` is A in ||Y - X F||, `right` is B in ||Y - F X||. */
export type Side = 'left' | 'right';

/** A factor in the course of the alternation: the sparse iterate Z and the scaled dual U, of one shape. */
export interface FactorState {
  readonly primal: Matrix;
  readonly dual: Matrix;
}

/** Lets a Gram matrix of zeros be inverted where the penalty is 0 and the ridge a multiple of its diagonal. */
const leastPenalty = 1e-6;

export interface ProximalUpdateOptions {
  /** Nonzeros of the result, chosen globally over the factor. */
  count: number;
  /** Proximal steps (paper, Algorithm 1: 5). */
  steps: number;
  /** In how many of them, from the first on, the support is chosen anew; afterwards it stays. */
  supportSteps: number;
  /** Penalty of the opening solve (X warm-started from Z - U). The steps themselves use penalty 1. */
  openingPenalty: number;
  /** Ridge on the normalised Gram matrix, as a multiple of its mean diagonal. */
  ridge: number;
  /** Metric of the residual's rows, for `left` updates: min tr (Y - X F) M (Y - X F)^T. The identity if absent. */
  metric?: GramMetric;
  /** Fixed support: entries of the factor that may be nonzero are those nonzero here. Overrides `count`. */
  support?: Matrix;
}

/**
 * One update of a factor X in  min ||Y - F X||^2, nnz(X) <= count  (or ||Y - X F||^2), by ADMM (paper, section 3.2;
 * method.md section 2 step 4): with the columns of F normalised, G = F^T F + ridge, R = F^T Y,
 *   X = (G + rho0)^-1 (R + rho0 (Z - U)), then `steps` times
 *   T = X + U;  Z = the largest entries of T;  U = T - Z;  X = (G + 1)^-1 (R + Z - U).
 * The last X is never computed: the result is Z. `state` is updated in place.
 * @param fixed F: out x k for `right`, k x in for `left`.
 * @param target Y, out x in.
 */
export function proximalUpdate(
  side: Side,
  fixed: Matrix,
  target: ScaledTarget,
  state: FactorState,
  options: ProximalUpdateOptions,
  compute: Compute,
): void {
  compute.scope(() => {
    const { primal } = state;
    const k = side === 'right' ? primal.rows : primal.columns;
    const gram = compute.matrix(k, k);
    const right = compute.matrix(primal.rows, primal.columns);
    const { metric } = options;
    if (metric) {
      compute.scope(() => {
        const product = compute.matrix(k, fixed.columns);
        multiplyByMetric(fixed, metric, product, compute);
        compute.gemm(product, fixed, gram, { transposeB: true });
        targetTimesRight(target, product, right, compute);
      });
    } else {
      compute.syrk(fixed, gram, { transpose: side === 'right' });
      if (side === 'right') leftTimesTarget(fixed, target, right, compute);
      else targetTimesRight(target, fixed, right, compute);
    }
    solveProximal(side, gram, right, state, options, compute);
  });
}

/**
 * The steps of {@link proximalUpdate} for a given Gram matrix F^T F (k x k) and right-hand side F^T Y (shape of X).
 * Both are overwritten.
 */
export function solveProximal(
  side: Side,
  gram: Matrix,
  right: Matrix,
  { primal, dual }: FactorState,
  { count, steps, supportSteps, openingPenalty, ridge, support }: ProximalUpdateOptions,
  compute: Compute,
): void {
  const { kernels } = compute;
  compute.scope(() => {
    const k = gram.rows;
    const norms = compute.arena.vector(k);
    const inverseNorms = compute.arena.vector(k);
    for (const [i, value] of diagonal(gram).entries()) {
      norms[i] = Math.sqrt(Math.max(0, value)) + 1e-8;
      inverseNorms[i] = 1 / (norms[i] as number);
    }
    const scale = (x: Matrix, by: Float32Array): void =>
      side === 'right' ? kernels.scaleRows(x.data, x.data, by) : kernels.scaleColumns(x.data, x.data, by);
    kernels.scaleRows(gram.data, gram.data, inverseNorms);
    kernels.scaleColumns(gram.data, gram.data, inverseNorms);
    scale(right, inverseNorms);
    scale(primal, norms);
    scale(dual, norms);

    const meanDiagonal = diagonal(gram).reduce((sum, value) => sum + value / k, 0);
    const iterate = compute.matrix(primal.rows, primal.columns);
    const inverse = compute.matrix(k, k);
    // Nothing is in `iterate` while an inverse is computed, and it is at least k x k large.
    const scratch = { rows: k, columns: k, data: iterate.data.subarray(0, k * k) };
    const invertWithPenalty = (penalty: number): void => {
      inverse.data.set(gram.data);
      for (let i = 0; i < k; i++)
        inverse.data[i * k + i] = (inverse.data[i * k + i] as number) + ridge * meanDiagonal + penalty;
      // Of unit diagonal plus ridge and penalty: only overflow or NaN can make it fail.
      if (!invertPositiveDefinite(inverse, compute, scratch)) throw notInvertible(k, penalty);
    };
    const addToRight = (penalty: number): void => {
      kernels.linearCombination(right.data, 1, right.data, penalty, primal.data);
      kernels.linearCombination(right.data, 1, right.data, -penalty, dual.data);
    };
    /** X = (G + penalty)^-1 (R + penalty (Z - U)), with `inverse` in place. R holds the sum meanwhile: a matrix less. */
    const solve = (penalty: number, again: boolean): void => {
      addToRight(penalty);
      if (side === 'right') compute.gemm(inverse, right, iterate);
      else compute.gemm(right, inverse, iterate);
      if (again) addToRight(-penalty);
    };
    invertWithPenalty(Math.max(openingPenalty, leastPenalty));
    solve(openingPenalty, steps > 1);
    for (let step = 0; step < steps; step++) {
      if (step > 0) {
        if (step === 1 && openingPenalty !== 1) invertWithPenalty(1);
        solve(1, step + 1 < steps);
      }
      if (support === undefined && step < supportSteps) {
        compute.addAndSplitLargest(dual.data, iterate.data, count, primal.data);
      } else {
        kernels.linearCombination(dual.data, 1, dual.data, 1, iterate.data);
        kernels.restrict(primal.data, dual.data, support?.data ?? primal.data);
        kernels.linearCombination(dual.data, 1, dual.data, -1, primal.data);
      }
    }
    scale(primal, inverseNorms);
    scale(dual, inverseNorms);
  });
}

function notInvertible(size: number, penalty: number): DoubleSparseError {
  return new DoubleSparseError(
    'not-positive-definite',
    `the normalised Gram matrix of a factor (${size}x${size}) cannot be inverted with penalty ${penalty}`,
    { data: { size, penalty }, hint: 'weights or inputs are near the limits of fp32: scale the layer' },
  );
}
