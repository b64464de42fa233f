import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import { alternateScaled } from './alternate-scaled.js';
import { type FactorSizes, splitBudget } from './budget.js';
import type { FactoredLayer } from './factor-problem.js';
import { fixedMaskShare } from './fixed-mask.js';
import { type RefitOptions, refitFactors } from './refit.js';
import { ridge, scalingExponent, shapeSettings, supportShare } from './schedule.js';

/**
 * The alternation under diag(H) with growing supports, and a refit under the full H.
 * @param budget nonzeros; more than the weight has entries count as that many.
 * @param maskSeed fixes the square factor's support in advance.
 */
export function startFactors(
  weight: Matrix,
  gram: Matrix,
  budget: number,
  { outerIterations, refit }: { readonly outerIterations: number; readonly refit: RefitOptions },
  compute: Compute,
  maskSeed?: number,
): FactoredLayer {
  const { squareShare, openingPenalty, fullGramShare } = shapeSettings(weight.rows, weight.columns);
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
    squareShare: maskSeed === undefined ? squareShare : fixedMaskShare(weight.rows, weight.columns),
    ...(maskSeed !== undefined && { maskSeed }),
  };
  const factors = alternateScaled(weight, gram, Math.min(budget, weight.data.length), settings, compute);
  const layer = { weight, gram, ...factors };
  refitFactors(layer, refit, compute);
  return layer;
}

/** How a budget is split between the factors. */
export function factorSizes(weight: Matrix, budget: number): FactorSizes {
  const { squareShare } = shapeSettings(weight.rows, weight.columns);
  const { squareIsLeft, square, other } = splitBudget(weight, budget, squareShare);
  return squareIsLeft ? { a: square, b: other } : { a: other, b: square };
}
