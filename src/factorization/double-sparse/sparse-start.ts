import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import { admm } from '../admm.js';
import { leftProblem, rightProblem } from './factor-problem.js';
import { growSupport } from './support-swap.js';

export interface SparseStartOptions {
  /** Part of the budget for the square factor's entries beside its diagonal. */
  readonly squareShare: number;
  /** Conjugate gradient steps when they are added. */
  readonly steps: number;
}

/**
 * Two factors from one: the weight pruned by ADMM under the full Gram matrix, and the identity as square factor, to which
 * the entries are added that promise most. Where few nonzeros are left, or inputs go together as the pixels of a patch
 * do, supports that a search makes from these are better than from the alternation, which sees diag(H) alone.
 * @returns A (out x k) and B (k x in) in the arena; undefined where the budget does not even suffice for the identity.
 */
export function sparseStart(
  weight: Matrix,
  gram: Matrix,
  budget: number,
  { squareShare, steps }: SparseStartOptions,
  compute: Compute,
): { a: Matrix; b: Matrix } | undefined {
  const { rows, columns } = weight;
  const inner = Math.min(rows, columns);
  const added = Math.floor(squareShare * budget);
  const left = budget - inner - added;
  if (left < inner) return undefined;
  const options = { sparsity: 0, budget: left, effort: 'default', seed: 0 } as const;
  const pruned = compute.arena.adopt(admm(weight, gram, options, compute).factors[0] as Matrix);
  const square = compute.matrix(inner, inner);
  for (let i = 0; i < inner; i++) square.data[i * inner + i] = 1;
  const [a, b] = rows <= columns ? [square, pruned] : [pruned, square];
  const layer = { weight, gram, a, b };
  compute.scope(() => growSupport((a === square ? leftProblem : rightProblem)(layer, compute), added, steps, compute));
  return { a, b };
}
