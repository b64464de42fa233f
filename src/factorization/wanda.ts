import { diagonal } from '../linalg/matrix.js';
import type { FactorizationMethod } from './factorization.js';
import { measured } from './measure.js';

/**
 * Wanda (Sun et al., arXiv 2306.11695): per output row keeps the largest |W_ij| sqrt(H_jj). The budget is spread
 * evenly; rows above the remainder keep one entry fewer. Weights on dead inputs (H_jj = 0) are worth nothing and never
 * kept, so a layer with many of them uses less than its budget.
 */
export const wanda: FactorizationMethod = (weight, gram, options, compute) =>
  measured(weight, gram, options, compute, (w, h, budget) => {
    const norms = Float32Array.from(diagonal(h), (value) => Math.sqrt(Math.max(0, value)));
    const kept = compute.matrix(w.rows, w.columns);
    const perRow = Math.floor(budget / w.rows);
    const remainder = budget - perRow * w.rows;
    compute.scope(() => {
      const score = compute.arena.vector(w.columns);
      const selected = compute.arena.vector(w.columns);
      for (let i = 0; i < w.rows; i++) {
        const row = i * w.columns;
        for (let j = 0; j < w.columns; j++) score[j] = (w.data[row + j] as number) * (norms[j] as number);
        compute.splitLargest(score, perRow + (i < remainder ? 1 : 0), selected);
        for (let j = 0; j < w.columns; j++) {
          if (selected[j] !== 0) kept.data[row + j] = w.data[row + j] as number;
        }
      }
    });
    return { factors: [kept] };
  });
