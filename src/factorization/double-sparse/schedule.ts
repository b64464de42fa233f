import type { Effort } from '../factorization.js';
import type { SquareShare } from './budget.js';
import type { RefitOptions } from './refit.js';
import type { SupportSearchOptions } from './support-search.js';
import type { SupportSwapOptions } from './support-swap.js';

/** Settings of the alternation that depend on the shape of the weight. */
export interface ShapeSettings {
  readonly squareShare: SquareShare;
  /** Penalty of an update's opening solve: first + gain * progress^3. */
  readonly openingPenalty: { readonly first: number; readonly gain: number };
  /** Share of the full Gram matrix, beside its diagonal, in the metric of the updates of A. */
  readonly fullGramShare: number;
}

/** What one effort does. Every constant was chosen by measurement: docs/method.md has the figures. */
export interface DoubleSparseSchedule {
  readonly outerIterations: number;
  /** Right after the alternation. */
  readonly refit: RefitOptions;
  readonly swap: SupportSwapOptions;
  /** At the end, where supports were swapped. */
  readonly finalRefit: RefitOptions;
  /** A longer search over supports; the alternation then only makes its start. */
  readonly search?: SupportSearchOptions;
}

export const schedules: Readonly<Record<Effort, DoubleSparseSchedule>> = {
  fast: {
    outerIterations: 14,
    refit: { rounds: 1, steps: 6 },
    swap: { rounds: 0, fraction: 0, steps: 0 },
    finalRefit: { rounds: 0, steps: 0 },
  },
  default: {
    outerIterations: 28,
    refit: { rounds: 1, steps: 4 },
    swap: { rounds: 3, fraction: 0.03, steps: 6 },
    finalRefit: { rounds: 1, steps: 5 },
  },
  max: {
    outerIterations: 160,
    refit: { rounds: 1, steps: 4 },
    swap: { rounds: 12, fraction: 0.03, steps: 8 },
    finalRefit: { rounds: 2, steps: 10 },
  },
  search: {
    outerIterations: 28,
    refit: { rounds: 1, steps: 4 },
    swap: { rounds: 0, fraction: 0, steps: 0 },
    finalRefit: { rounds: 4, steps: 15 },
    search: {
      startBudgets: [2, 4],
      cycles: 8,
      leastCycles: 3,
      operations: 4e8,
      growth: 3,
      pruneRounds: 40,
      pruneFraction: 0.05,
      swap: { rounds: 40, fraction: 0.2, steps: 8 },
      refit: { rounds: 2, steps: 15 },
    },
  },
};

/** Square, tall (out > in) and wide weights. Only A of a tall or square weight gets the full Gram matrix at little cost. */
export function shapeSettings(rows: number, columns: number): ShapeSettings {
  if (rows === columns) {
    const squareShare = { density: 0.19, mostOfBudget: 0.5 };
    return { squareShare, openingPenalty: { first: 0.05, gain: 0.25 }, fullGramShare: 0.2 };
  }
  const tall = rows > columns;
  const squareShare = { density: tall ? 0.3 : 0.35, mostOfBudget: 0.35 };
  return { squareShare, openingPenalty: { first: 0.03, gain: 0.3 }, fullGramShare: tall ? 0.2 : 0 };
}

/** Columns are scaled by diag(H) to this power. */
export const scalingExponent = 0.3;

/**
 * Supports grow linearly to their budgets. A support that is chosen at full size early is never left again; one that
 * grows spends its first places on what matters most.
 */
export const supportShare = {
  square: (progress: number): number => 0.6 + 0.4 * progress,
  other: (progress: number): number => 0.4 + 0.6 * progress,
};

/** Ridge of the normalised Gram matrices. */
export const ridge = 0.003;
