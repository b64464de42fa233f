import { invertPositiveDefinite, withDamping } from '../linalg/cholesky.js';
import type { Compute } from '../linalg/compute.js';
import { blockOf } from '../linalg/engine.js';
import type { Matrix } from '../linalg/matrix.js';
import { refitFactors } from './double-sparse/refit.js';
import type { FactorizationMethod } from './factorization.js';
import { quadraticForm } from './layer-error.js';
import { leadingOutputDirections, zeroFactors } from './low-rank.js';
import { measured, type Solution } from './measure.js';

/** Groups of the shorter side; the fewer, the lower the error of trained layers, and one group is plain low rank. */
const shortSideGroups = 2;
/** Gauss-Seidel passes over the groups of inputs. Each takes a few per cent off; the refit takes the rest. */
const sweeps = 2;
const refitting = { rounds: 2, steps: 10 };

/**
 * Monarch (Dao et al., arXiv 2204.00595): W ~ A P B with A and B block-diagonal and P the stride permutation, here with
 * rectangular blocks and absorbed into A. Seen in W (out x in), cut into p x q blocks, it makes each of them a product
 * of its own of rank r: block (i, j) of W ~ A_ij B_ij, so that A (out x pqr) has q r nonzeros a row and B (pqr x in)
 * p r a column. r = floor(budget / (p in + q out)).
 *
 * Projection under H (the paper's section 3.2 does it for H = I, block by block): for the inputs of group j with the
 * other groups fixed, the best rank-r blocks are those of the low-rank problem of W_j + (E H)_j (H_jj)^-1 under H_jj,
 * E the error of the others; groups in turn, then both factors on their supports by conjugate gradients.
 *
 * p = q = 2 where out >= in. Wide layers get as many more groups of inputs as they are wide (blocks nearly square),
 * which measures better by a tenth to a fifth; tall ones do not gain from more groups of outputs.
 * Budgets too small for that get fewer groups; below rank 1 of one group the factors are zero: relative error 1.
 */
export const blockDiagonal: FactorizationMethod = (weight, gram, options, compute) =>
  measured(weight, gram, options, compute, (w, h, budget): Solution => {
    const layout = chooseLayout(w, budget);
    if (layout === undefined) return zeroFactors(w, compute);
    const inner = (layout.outputs.length - 1) * (layout.inputs.length - 1) * layout.rank;
    const a = compute.matrix(w.rows, inner);
    const b = compute.matrix(inner, w.columns);
    compute.scope(() => {
      project(w, h, layout, a, b, compute);
      refitFactors({ weight: w, gram: h, a, b }, refitting, compute);
    });
    return { factors: [a, b] };
  });

interface Layout {
  /** First row of each group of outputs, and the end; p + 1 numbers. */
  readonly outputs: readonly number[];
  /** First column of each group of inputs, and the end; q + 1 numbers. */
  readonly inputs: readonly number[];
  /** Rank r of every block. */
  readonly rank: number;
}

function chooseLayout({ rows: out, columns: inputs }: Matrix, budget: number): Layout | undefined {
  let p = Math.min(shortSideGroups, out);
  let q = Math.min(inputs, shortSideGroups * Math.max(1, Math.round(inputs / out)));
  while (p * q > 1 && p * inputs + q * out > budget) {
    if (p >= q) p--;
    else q--;
  }
  const affordable = Math.floor(budget / (p * inputs + q * out));
  const rank = Math.min(affordable, Math.floor(out / p), Math.floor(inputs / q));
  const cuts = (length: number, groups: number): number[] =>
    Array.from({ length: groups + 1 }, (_, group) => Math.floor((group * length) / groups));
  return rank > 0 ? { outputs: cuts(out, p), inputs: cuts(inputs, q), rank } : undefined;
}

/** Fills A and B, zeros before, with the projection of W. */
function project(
  w: Matrix,
  h: Matrix,
  { outputs, inputs, rank }: Layout,
  a: Matrix,
  b: Matrix,
  compute: Compute,
): void {
  const p = outputs.length - 1;
  const q = inputs.length - 1;
  const product = compute.matrix(w.rows, w.columns);
  const error = compute.matrix(w.rows, w.columns);
  error.data.set(w.data);
  for (let sweep = 0; sweep <= sweeps; sweep++) {
    for (let j = 0; j < q; j++) {
      const from = inputs[j];
      const width = inputs[j + 1] - from;
      compute.scope(() => {
        const ownGram = compute.matrix(width, width);
        copyBlock(h, from, from, ownGram);
        const target = compute.matrix(w.rows, width);
        // The first sweep starts from the blocks of W itself: from zero, the first group would take what belongs to all.
        copyBlock(sweep === 0 ? w : product, 0, from, target);
        if (sweep > 0) addOwnShare(error, h, ownGram, from, target, compute);
        for (let i = 0; i < p; i++) {
          const first = outputs[i];
          const height = outputs[i + 1] - first;
          compute.scope(() => {
            const part = rowsOf(target, first, height);
            const { left } = leadingOutputDirections(part, ownGram, rank, compute);
            const right = compute.matrix(rank, width);
            compute.gemm(left, part, right, { transposeA: true });
            const inner = (j * p + i) * rank;
            writeBlock(left, a, first, inner);
            writeBlock(right, b, inner, from);
            compute.gemm(left, right, blockOf(product, first, from, height, width));
          });
        }
        for (let row = 0; row < w.rows; row++) {
          for (let at = row * w.columns + from; at < row * w.columns + from + width; at++) {
            error.data[at] = w.data[at] - product.data[at];
          }
        }
      });
    }
    if (sweep === 0) scaleToBest(w, h, product, error, a, compute);
  }
}

/** target += (E H)_j (H_jj)^-1. */
function addOwnShare(error: Matrix, h: Matrix, ownGram: Matrix, from: number, target: Matrix, compute: Compute): void {
  compute.scope(() => {
    const width = ownGram.rows;
    const correlation = compute.matrix(error.rows, width);
    compute.gemm(error, blockOf(h, 0, from, h.rows, width), correlation);
    const { result: inverse } = withDamping(ownGram, compute, (damped) =>
      invertPositiveDefinite(damped, compute) ? damped : undefined,
    );
    compute.gemm(correlation, inverse, target, { beta: 1 });
  });
}

/** Scales the product V, and A with it, by tr(W H V^T) / tr(V H V^T): the error is at most that of zeros from here on. */
function scaleToBest(w: Matrix, h: Matrix, product: Matrix, error: Matrix, a: Matrix, compute: Compute): void {
  const { kernels } = compute;
  const energy = quadraticForm(product, h, compute);
  if (!(energy > 0)) return;
  // From tr(E H E^T) = tr(W H W^T) - 2 tr(W H V^T) + tr(V H V^T).
  const overlap = (quadraticForm(w, h, compute) + energy - quadraticForm(error, h, compute)) / 2;
  const scale = overlap / energy;
  kernels.linearCombination(product.data, scale, product.data, 0, product.data);
  kernels.linearCombination(a.data, scale, a.data, 0, a.data);
  kernels.linearCombination(error.data, 1, w.data, -1, product.data);
}

/** `height` rows of a matrix from row `first` on, as a matrix over the same memory. */
function rowsOf({ columns, data }: Matrix, first: number, height: number): Matrix {
  return { rows: height, columns, data: data.subarray(first * columns, (first + height) * columns) };
}

/** target = the block of source whose upper left corner is (row, column). */
function copyBlock(source: Matrix, row: number, column: number, target: Matrix): void {
  for (let i = 0; i < target.rows; i++) {
    const from = (row + i) * source.columns + column;
    target.data.set(source.data.subarray(from, from + target.columns), i * target.columns);
  }
}

/** Puts `source` into `target` with its upper left corner at (row, column). */
function writeBlock(source: Matrix, target: Matrix, row: number, column: number): void {
  for (let i = 0; i < source.rows; i++) {
    const from = i * source.columns;
    target.data.set(source.data.subarray(from, from + source.columns), (row + i) * target.columns + column);
  }
}
