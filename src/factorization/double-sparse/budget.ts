import type { Matrix } from '../../linalg/matrix.js';

/** Numbers of nonzeros of the factors. */
export interface FactorSizes {
  readonly a: number;
  readonly b: number;
}

/** How the nonzeros of a layer are split between its factors. */
export interface FactorBudget {
  /** Is A (out x k, k = min(out, in)) the square factor? True for wide weights; else B is. */
  readonly squareIsLeft: boolean;
  /** Shorter side of the weight. */
  readonly inner: number;
  /** Nonzeros of the square factor, k x k. */
  readonly square: number;
  /** Nonzeros of the other factor, of the weight's shape. */
  readonly other: number;
}

/** What the square factor may get: a density, but never more than a part of the layer's whole budget. */
export interface SquareShare {
  /** Of its k^2 entries. */
  readonly density: number;
  /** Of the budget; at high sparsity the density alone would leave nothing, or less, for the other factor. */
  readonly mostOfBudget: number;
}

/**
 * Splits `budget` nonzeros: density * k^2 to the square factor, the rest to the other (method.md section 2 step 2).
 * Both get at least one where there are two; what one factor cannot hold goes to the other.
 */
export function splitBudget(weight: Matrix, budget: number, { density, mostOfBudget }: SquareShare): FactorBudget {
  const { rows, columns } = weight;
  const inner = Math.min(rows, columns);
  const wanted = Math.min(Math.floor(density * inner * inner), Math.floor(mostOfBudget * budget));
  const share = Math.min(Math.max(1, wanted), Math.floor(budget / 2));
  const other = Math.min(budget - share, rows * columns);
  return { squareIsLeft: rows < columns, inner, square: Math.min(budget - other, inner * inner), other };
}
