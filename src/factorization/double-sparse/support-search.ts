import type { Compute } from '../../linalg/compute.js';
import { countNonzeros } from '../../linalg/matrix.js';
import { relativeLayerError } from '../layer-error.js';
import type { FactorSizes } from './budget.js';
import { type FactoredLayer, type FactorProblem, leftProblem, rightProblem } from './factor-problem.js';
import { type RefitOptions, refitFactors } from './refit.js';
import { moveSupport, type SupportSwapOptions, swapSupports } from './support-swap.js';

export interface SupportSearchOptions {
  /** Nonzeros of the alternations with which the search starts, as multiples of the budget. */
  readonly startBudgets: readonly number[];
  /** How often supports are pruned to their size; fewer where a product with H takes more than so many operations / cycle. */
  readonly cycles: number;
  readonly leastCycles: number;
  readonly operations: number;
  /** Size to which supports grow before the second cycle, as a multiple; falls linearly to 1. */
  readonly growth: number;
  /** Steps of a pruning, and the part of the nonzeros that moves in each of them. */
  readonly pruneRounds: number;
  readonly pruneFraction: number;
  /** Behind each pruning. */
  readonly swap: SupportSwapOptions;
  readonly refit: RefitOptions;
}

/**
 * A search over supports under the full Gram matrix that leaves local optima: cycle by cycle the supports grow by what
 * promises most, are pruned to their size in many small steps, the weakest first, with a refit by conjugate gradients
 * after each, and improved by swaps. The best factors so far are what every cycle starts from. In the first one the
 * starts, which have more nonzeros, are pruned only.
 * @param starts pairs of factors in the arena; the search works in them.
 * @param sizes of the result.
 * @returns one of the starts, changed in place.
 */
export function searchSupports(
  starts: readonly [FactoredLayer, ...FactoredLayer[]],
  sizes: FactorSizes,
  options: SupportSearchOptions,
  compute: Compute,
): FactoredLayer {
  const { growth, swap } = options;
  const [first, ...others] = starts;
  let [best, least] = [first, settle(first, sizes, options, compute)];
  for (const other of others) {
    const error = settle(other, sizes, options, compute);
    if (error < least) [best, least] = [other, error];
  }
  const cycles = cyclesOf(best, options);
  const { a, b } = best;
  compute.scope(() => {
    const [bestA, bestB] = [compute.arena.vector(a.data.length), compute.arena.vector(b.data.length)];
    for (let cycle = 1; cycle < cycles; cycle++) {
      bestA.set(a.data);
      bestB.set(b.data);
      resize(best, sizes, 1 + (growth - 1) * (1 - cycle / cycles), 0, swap.steps, compute);
      const error = settle(best, sizes, options, compute);
      if (error < least) least = error;
      else {
        a.data.set(bestA);
        b.data.set(bestB);
      }
    }
  });
  return best;
}

/** Prunes factors to their sizes and improves them. @returns the relative layer error. */
function settle(layer: FactoredLayer, sizes: FactorSizes, options: SupportSearchOptions, compute: Compute): number {
  prune(layer, sizes, options, compute);
  swapSupports(layer, options.swap, compute);
  refitFactors(layer, options.refit, compute);
  return relativeLayerError(layer.weight, layer.gram, [layer.a, layer.b], compute);
}

function cyclesOf({ weight }: FactoredLayer, { cycles, leastCycles, operations }: SupportSearchOptions): number {
  const product = 2 * weight.rows * weight.columns ** 2;
  return Math.max(leastCycles, Math.min(cycles, Math.floor(operations / product)));
}

/** Prunes both factors from their present sizes to the wanted ones, by equal factors. */
export function prune(
  layer: FactoredLayer,
  sizes: FactorSizes,
  { pruneRounds, pruneFraction, swap }: Pick<SupportSearchOptions, 'pruneRounds' | 'pruneFraction' | 'swap'>,
  compute: Compute,
): void {
  const [fromA, fromB] = [countNonzeros(layer.a), countNonzeros(layer.b)];
  const between = (from: number, to: number, part: number): number =>
    Math.round(Math.max(1, from) ** (1 - part) * to ** part);
  for (let round = 1; round <= pruneRounds; round++) {
    const part = round / pruneRounds;
    const next = { a: between(fromA, sizes.a, part), b: between(fromB, sizes.b, part) };
    resize(layer, next, 1, pruneFraction, swap.steps, compute);
  }
}

/** Gives both factors their sizes, times `factor`; the weakest `moved` of these are exchanged for absent entries. */
function resize(
  layer: FactoredLayer,
  sizes: FactorSizes,
  factor: number,
  moved: number,
  steps: number,
  compute: Compute,
): void {
  const move = (problem: FactorProblem, size: number): void => {
    const { length } = problem.factor.data;
    const nonzeros = countNonzeros(problem.factor);
    const wanted = Math.min(Math.floor(size * factor), length);
    const kept = Math.min(nonzeros, Math.ceil(wanted * (1 - moved)));
    moveSupport(problem, kept, Math.min(wanted - kept, length - nonzeros), steps, compute);
  };
  compute.scope(() => move(leftProblem(layer, compute), sizes.a));
  compute.scope(() => move(rightProblem(layer, compute), sizes.b));
}
