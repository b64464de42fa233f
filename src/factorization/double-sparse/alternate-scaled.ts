import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import { type AlternationSchedule, alternate, startAlternation } from './alternation.js';
import { type SquareShare, splitBudget } from './budget.js';
import { fixedMask } from './fixed-mask.js';
import { scaledTarget } from './scaled-target.js';

export interface ScaledAlternationOptions {
  alternation: AlternationSchedule;
  /** Columns are scaled by diag(H) to this power. */
  scalingExponent: number;
  squareShare: SquareShare;
  /** Share of the full Gram matrix in the metric of updates of A (gram-metric.ts); default 0. */
  fullGramShare?: number;
  /** Fix the support of the square factor in advance, by this seed. */
  maskSeed?: number;
}

/**
 * The alternation on W diag(H)^exponent, the scaling undone on B: A (out x k) and B (k x in) in the arena, k the
 * shorter side, nnz(A) + nnz(B) <= budget. A budget below two gives zeros: one nonzero cannot make a product.
 */
export function alternateScaled(
  weight: Matrix,
  gram: Matrix,
  budget: number,
  { alternation, scalingExponent, squareShare, maskSeed, fullGramShare = 0 }: ScaledAlternationOptions,
  compute: Compute,
): { a: Matrix; b: Matrix } {
  const inner = Math.min(weight.rows, weight.columns);
  const a = compute.matrix(weight.rows, inner);
  const b = compute.matrix(inner, weight.columns);
  if (budget < 2) return { a, b };
  compute.scope(() => {
    const target = scaledTarget(weight, gram, scalingExponent, compute);
    const { inverseScale } = target;
    const split = splitBudget(weight, budget, squareShare);
    const [square, other] = split.squareIsLeft ? [a, b] : [b, a];
    const factors = startAlternation(target, split, square, other, compute);
    alternate(target, factors, split, alternation, compute, {
      ...(maskSeed !== undefined && { squareSupport: fixedMask(inner, split.square, maskSeed, compute) }),
      ...(fullGramShare > 0 && { metric: { gram, inverseScale, share: fullGramShare } }),
    });
    compute.kernels.scaleColumns(b.data, b.data, inverseScale);
  });
  return { a, b };
}
