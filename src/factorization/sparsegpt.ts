import { choleskyWithInverse, withDamping } from '../linalg/cholesky.js';
import type { Compute } from '../linalg/compute.js';
import { blockOf } from '../linalg/engine.js';
import { diagonal, type Matrix } from '../linalg/matrix.js';
import type { FactorizationMethod } from './factorization.js';
import { measured } from './measure.js';

/** The paper's damping of H, as a multiple of its mean diagonal. */
const ridge = 0.01;
/** Columns whose mask is chosen together (paper, section 3.3: B_s = 128). */
const blockColumns = 128;
/** Columns between which errors are passed on by plain loops; further ones wait for gemm. */
const panelColumns = 16;

/**
 * SparseGPT (Frantar & Alistarh, arXiv 2301.00774, Algorithm 1): columns from left to right, H^-1 = U^T U with U upper
 * triangular. In blocks of 128 columns the entries of largest w^2 / U_jj^2 are kept; the error w_j / U_jj of each
 * removed entry is taken off the later columns of its row with row j of U. H is damped by 0.01 mean(diag H).
 * The counts of the blocks add up to the budget exactly. Weights of dead inputs (H_jj = 0) go first.
 */
export const sparsegpt: FactorizationMethod = (weight, gram, options, compute) =>
  measured(weight, gram, options, compute, (w, h, budget) => {
    const { rows: out, columns: inputs } = w;
    const result = compute.matrix(out, inputs);
    return compute.scope(() => {
      const alive = diagonal(h).map((value) => (value > 0 ? 1 : 0));
      const { factor, damping } = inverseFactor(h, compute);
      compute.kernels.scaleColumns(result.data, w.data, Float32Array.from(alive));
      const aliveTotal = alive.reduce((sum, value) => sum + value, 0);
      let aliveBefore = 0;
      for (let from = 0; from < inputs; from += blockColumns) {
        const width = Math.min(blockColumns, inputs - from);
        const aliveHere = alive.subarray(from, from + width).reduce((sum, value) => sum + value, 0);
        const share = (columns: number): number => Math.floor((budget * columns) / Math.max(1, aliveTotal));
        const count = share(aliveBefore + aliveHere) - share(aliveBefore);
        aliveBefore += aliveHere;
        pruneBlock(result, factor, from, width, count, compute);
      }
      return { factors: [result], damping };
    });
  });

/** The upper triangular U of H^-1 = U^T U, H damped; in x in. */
function inverseFactor(gram: Matrix, compute: Compute): { factor: Matrix; damping: number } {
  const n = gram.rows;
  const factor = compute.matrix(n, n);
  return compute.scope(() => {
    // With P the reversal of the order: P H P = L L^T, so H^-1 = (P L^-1 P)^T (P L^-1 P). Reversing rows and columns
    // of a matrix is reversing its entries.
    const reversed = compute.matrix(n, n);
    reversed.data.set(gram.data);
    reversed.data.reverse();
    const added = diagonal(gram).reduce((sum, value) => sum + (ridge * value) / n, 0);
    for (let i = 0; i < n; i++) reversed.data[i * n + i] += added;
    const { damping } = withDamping(reversed, compute, (damped) => {
      factor.data.fill(0);
      return choleskyWithInverse(damped, factor, compute) ? true : undefined;
    });
    factor.data.reverse();
    return { factor, damping };
  });
}

/** Prunes `width` columns to `count` entries and passes the errors on to all later columns. */
function pruneBlock(w: Matrix, factor: Matrix, from: number, width: number, count: number, compute: Compute): void {
  const { rows: out, columns: inputs } = w;
  compute.scope(() => {
    const kept = compute.matrix(out, width);
    compute.scope(() => {
      const score = compute.matrix(out, width);
      for (let i = 0; i < out; i++) {
        for (let j = 0; j < width; j++) {
          score.data[i * width + j] = w.data[i * inputs + from + j] / factor.data[(from + j) * inputs + from + j];
        }
      }
      compute.splitLargest(score.data, count, kept.data);
    });
    const errors = compute.matrix(out, width);
    for (let panel = 0; panel < width; panel += panelColumns) {
      const panelEnd = Math.min(width, panel + panelColumns);
      for (let i = 0; i < out; i++) {
        const row = i * inputs + from;
        for (let j = panel; j < panelEnd; j++) {
          if (kept.data[i * width + j] !== 0) continue;
          const factorRow = (from + j) * inputs + from;
          const error = w.data[row + j] / factor.data[factorRow + j];
          errors.data[i * width + j] = error;
          w.data[row + j] = 0;
          for (let l = j + 1; l < panelEnd; l++) w.data[row + l] -= error * factor.data[factorRow + l];
        }
      }
      passOn(panel, panelEnd, panelEnd, width);
    }
    passOn(0, width, width, inputs - from);

    /** Takes the errors of columns first..last of the block off columns begin..stop, counted from the block's first. */
    function passOn(first: number, last: number, begin: number, stop: number): void {
      if (stop <= begin) return;
      compute.gemm(
        blockOf(errors, 0, first, out, last - first),
        blockOf(factor, from + first, from + begin, last - first, stop - begin),
        blockOf(w, 0, from + begin, out, stop - begin),
        { alpha: -1, beta: 1 },
      );
    }
  });
}
