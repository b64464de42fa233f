import { invertPositiveDefinite, withDamping } from '../linalg/cholesky.js';
import { diagonal } from '../linalg/matrix.js';
import type { FactorizationMethod } from './factorization.js';
import { measured } from './measure.js';

/** Proximal steps, and in how many of them, from the first on, the support is chosen anew (paper, section 3.3). */
const steps = 20;
const supportSteps = 15;
/** Ridge on the Gram matrix of unit diagonal (the authors' `percdamp`). */
const ridge = 0.1;
/** Keeps the scaling of dead inputs invertible. */
const smallestNorm = 1e-8;

/**
 * ADMM pruning (Boza, "Fast and Effective Weight Update for Pruned Large Language Models", TMLR 2024, arXiv 2401.02938,
 * Algorithms 1 and 2): with inputs scaled to unit norm, G = H + 0.1 mean(diag H) I and rho = 1,
 *   T = X + U;  Z = the largest |T|;  U = T - Z;  X = (W G + Z - U) (G + I)^-1,
 * 20 times from X = W, U = 0. In the first 15 steps t the support is chosen anew, over the whole layer, at sparsity
 * s - s (1 - t/15)^3; the result is X + U on the last one.
 */
export const admm: FactorizationMethod = (weight, gram, options, compute) =>
  measured(weight, gram, options, compute, (w, h, budget) => {
    const { rows: out, columns: inputs } = w;
    const { kernels } = compute;
    const kept = compute.matrix(out, inputs);
    return compute.scope(() => {
      const norms = Float32Array.from(diagonal(h), (value) => Math.sqrt(Math.max(0, value)) + smallestNorm);
      const inverseNorms = norms.map((norm) => 1 / norm);
      const scaledGram = compute.matrix(inputs, inputs);
      kernels.scaleRows(scaledGram.data, h.data, inverseNorms);
      kernels.scaleColumns(scaledGram.data, scaledGram.data, inverseNorms);
      const added = diagonal(scaledGram).reduce((sum, value) => sum + (ridge * value) / inputs, 0);
      const addToDiagonal = (value: number): void => {
        for (let i = 0; i < inputs; i++) scaledGram.data[i * inputs + i] += value;
      };
      addToDiagonal(added);

      const iterate = compute.matrix(out, inputs);
      kernels.scaleColumns(iterate.data, w.data, norms);
      const weightGram = compute.matrix(out, inputs);
      compute.gemm(iterate, scaledGram, weightGram);
      addToDiagonal(1);
      const { result: inverse, damping } = withDamping(scaledGram, compute, (damped) =>
        invertPositiveDefinite(damped, compute) ? damped : undefined,
      );

      const dual = compute.matrix(out, inputs);
      const known = compute.matrix(out, inputs);
      const removals = w.data.length - budget;
      for (let step = 1; step <= steps; step++) {
        if (step <= supportSteps) {
          const removed = Math.floor(removals * (1 - (1 - step / supportSteps) ** 3));
          compute.addAndSplitLargest(dual.data, iterate.data, w.data.length - removed, kept.data);
        } else {
          kernels.linearCombination(dual.data, 1, dual.data, 1, iterate.data);
          kernels.restrict(kept.data, dual.data, kept.data);
          kernels.linearCombination(dual.data, 1, dual.data, -1, kept.data);
        }
        kernels.linearCombination(known.data, 1, weightGram.data, 1, kept.data);
        kernels.linearCombination(known.data, 1, known.data, -1, dual.data);
        compute.gemm(known, inverse, iterate);
      }
      kernels.linearCombination(dual.data, 1, dual.data, 1, iterate.data);
      kernels.restrict(kept.data, dual.data, kept.data);
      kernels.scaleColumns(kept.data, kept.data, inverseNorms);
      return { factors: [kept], damping };
    });
  });
