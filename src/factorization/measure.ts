import type { Compute } from '../linalg/compute.js';
import { countNonzeros, type Matrix } from '../linalg/matrix.js';
import type { Factorization, FactorizationOptions } from './factorization.js';
import { relativeLayerError } from './layer-error.js';

/** Nonzeros allowed to all factors together of a weight with so many entries. */
export function nonzeroBudget(entries: number, sparsity: number): number {
  // The tiny addend keeps 0.3 * 10 from becoming 2.
  return Math.floor((1 - sparsity) * entries + 1e-6);
}

/** What a method hands to {@link measured}. */
export interface Solution {
  factors: readonly Matrix[];
  /** See FactorizationMetrics.damping. Default 0. */
  damping?: number;
}

/**
 * Runs `solve` inside an arena scope, copies its factors out, and measures all of {@link FactorizationMetrics}.
 * @param adopt give `solve` copies of the inputs in the arena, where elementwise passes are fast (default); a method
 *   that only multiplies by them saves that memory.
 */
export function measured(
  weight: Matrix,
  gram: Matrix,
  options: FactorizationOptions,
  compute: Compute,
  solve: (weight: Matrix, gram: Matrix, budget: number) => Solution,
  { adopt = true }: { adopt?: boolean } = {},
): Factorization {
  const start = performance.now();
  const before = compute.products;
  const budget = options.budget ?? nonzeroBudget(weight.rows * weight.columns, options.sparsity);
  return compute.scope(() => {
    const localWeight = adopt ? compute.arena.adopt(weight) : weight;
    const localGram = adopt ? compute.arena.adopt(gram) : gram;
    const { damping = 0, factors } = solve(localWeight, localGram, budget);
    const relativeError = relativeLayerError(localWeight, localGram, factors, compute);
    const copies = factors.map((factor) => ({ ...factor, data: new Float32Array(factor.data) }));
    const after = compute.products;
    return {
      factors: copies,
      metrics: {
        relativeError,
        nonzeros: copies.reduce((sum, factor) => sum + countNonzeros(factor), 0),
        budget,
        seconds: (performance.now() - start) / 1000,
        productSeconds: after.seconds - before.seconds,
        productFlops: after.flops - before.flops,
        damping,
      },
    };
  });
}
