import type { FactorizationMethod } from './factorization.js';
import { measured } from './measure.js';

/** Magnitude pruning: keeps the entries of largest |W| of the whole layer. The Gram matrix only measures the error. */
export const magnitude: FactorizationMethod = (weight, gram, options, compute) =>
  measured(weight, gram, options, compute, (w, _gram, budget) => {
    const kept = compute.matrix(w.rows, w.columns);
    compute.scope(() => {
      const rest = compute.matrix(w.rows, w.columns);
      rest.data.set(w.data);
      compute.splitLargest(rest.data, budget, kept.data);
    });
    return { factors: [kept] };
  });
