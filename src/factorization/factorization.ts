import type { Compute } from '../linalg/compute.js';
import type { Matrix } from '../linalg/matrix.js';

/** `search` takes some fifty times as long as `max`: for small layers, as those of convolutional networks. */
export const efforts = ['fast', 'default', 'max', 'search'] as const;
export type Effort = (typeof efforts)[number];

/** Options that every method takes. */
export interface FactorizationOptions {
  /** Part of the weight's entries that must go: all factors together keep (1 - sparsity) * out * in nonzeros. 0 <= s < 1. */
  sparsity: number;
  /** Nonzeros allowed to all factors together, in place of what `sparsity` says. */
  budget?: number;
  /** How long to search; only Double Sparse Factorization listens. */
  effort: Effort;
  /** Seed of whatever is random in the method. */
  seed: number;
}

export interface FactorizationMetrics {
  /** tr((W - V) H (W - V)^T) / tr(W H W^T), V the product of the factors; 0 / 0 is 0. */
  relativeError: number;
  /** Nonzeros of all factors together. */
  nonzeros: number;
  /** Nonzeros allowed: floor((1 - sparsity) * out * in), or the option of that name. */
  budget: number;
  /** Wall seconds, the measuring of the error included. */
  seconds: number;
  /** Of these, seconds inside matrix products, and their floating point operations. */
  productSeconds: number;
  productFlops: number;
  /** Damping that had to be added to make a matrix positive definite, as a multiple of its mean diagonal; 0 = none beyond the method's own. */
  damping: number;
}

/** V = factors[0] * factors[1] * ...: one sparse matrix, or two. */
export interface Factorization {
  readonly factors: readonly Matrix[];
  readonly metrics: FactorizationMetrics;
}

/**
 * A method: weight (out x in) and Gram matrix of its inputs (in x in, symmetric positive semidefinite) to factors.
 * Pure: neither input changes, equal inputs give equal bytes on the same engine. Inputs have been validated.
 */
export type FactorizationMethod = (
  weight: Matrix,
  gram: Matrix,
  options: FactorizationOptions,
  compute: Compute,
) => Factorization;
