import { Compute } from '../linalg/compute.js';
import { createEngine } from '../linalg/engines/select.js';
import type { Matrix } from '../linalg/matrix.js';
import { doubleSparse } from './double-sparse/double-sparse.js';
import type { FactorizationMetrics, FactorizationOptions } from './factorization.js';
import { validateLayer, validateOptions } from './validate.js';

export interface DoubleSparseFactors {
  /** out x k, k = min(out, in). */
  readonly A: Matrix;
  /** k x in; acts first: y = A (B x). */
  readonly B: Matrix;
  readonly metrics: FactorizationMetrics;
}

let shared: Compute | undefined;

/**
 * Factorises one weight matrix: W is close to A B under the inputs' Gram matrix, and A and B together have
 * floor((1 - sparsity) * out * in) nonzeros (paper: Boza & Macko, arXiv 2409.18850).
 * @param weight out x in. @param gram in x in: mean of x x^T over calibration inputs x.
 * @param options defaults: sparsity 0.5, effort `default`, seed 0.
 * @param compute engine and memory; if absent the fastest engine of this machine with one thread, made once.
 * @throws DoubleSparseError `shape-mismatch`, `non-finite-value`, `not-symmetric`, `option-out-of-range`, `out-of-memory`
 */
export function factorize(
  weight: Matrix,
  gram: Matrix,
  options: Partial<FactorizationOptions> = {},
  compute: Compute = defaultCompute(),
): DoubleSparseFactors {
  const complete: FactorizationOptions = { sparsity: 0.5, effort: 'default', seed: 0, ...options };
  validateOptions(complete);
  validateLayer(weight, gram);
  const { factors, metrics } = doubleSparse(weight, gram, complete, compute);
  const [A, B] = factors as [Matrix, Matrix];
  return { A, B, metrics };
}

/** The process-wide computer of callers that bring none. */
function defaultCompute(): Compute {
  shared ??= new Compute(createEngine());
  return shared;
}
