import { DoubleSparseError } from '../../errors.js';
import { withDamping } from '../../linalg/cholesky.js';
import type { Compute } from '../../linalg/compute.js';
import { invertInFloat64 } from '../../linalg/float64-inverse.js';
import { diagonal, type Matrix } from '../../linalg/matrix.js';
import type { Factorization, FactorizationMethod, FactorizationOptions } from '../factorization.js';
import { measured, type Solution } from '../measure.js';
import { RowEliminations } from './row-eliminations.js';

/** Above, one row takes seconds and its factor rows more than 128 MiB. */
export const obcMaximumInputs = 4096;
/** Rows run to the end first, to learn at which loss the choice over rows will stop. */
const sampleRows = 24;
/** The other rows run up to this multiple of that loss: enough nearly always, and they are run again where it is not. */
const headroom = 1.25;
/** Further part of the sample's removals by which the limit is raised then. */
const nextShare = 0.1;
/** Curvature given to dead inputs, as a part of the mean diagonal: their weights go first, and touch no others. */
const deadCurvature = 1e-9;

/**
 * Optimal Brain Compression (Frantar & Alistarh, arXiv 2208.11580, Algorithms 1 and 2): every output row loses one
 * weight at a time, the one of least w_p^2 / [H^-1]_pp, and the others are updated exactly, w -= w_p / [H^-1]_pp
 * [H^-1]_p. Of the removals recorded for all rows the cheapest are chosen, in order within a row.
 *
 * All in float64, about out in^3 / 12 multiplications at sparsity 0.5.
 * @throws DoubleSparseError `layer-too-large` above 4096 inputs
 */
export const obc: FactorizationMethod = (weight, gram, options, compute) => {
  refuseLarge(weight);
  return measured(weight, gram, options, compute, (w, h, budget) =>
    solveAt(eliminationsOf(w, h, compute), w, budget, compute),
  );
};

/**
 * {@link obc} at several budgets (nonzeros) from one elimination: the level database of the paper's section 5. The
 * seconds of the elimination are those of the first result.
 * @returns one result for each budget, in their order.
 * @throws DoubleSparseError `layer-too-large` above 4096 inputs
 */
export function obcLevels(
  weight: Matrix,
  gram: Matrix,
  budgets: readonly number[],
  options: FactorizationOptions,
  compute: Compute,
): Factorization[] {
  refuseLarge(weight);
  return compute.scope(() => {
    const [w, h] = [compute.arena.adopt(weight), compute.arena.adopt(gram)];
    const eliminations = eliminationsOf(w, h, compute);
    const results = new Map<number, Factorization>();
    // The fewer weights stay, the further rows are run: the first run serves all.
    for (const budget of [...budgets].sort((a, b) => a - b))
      results.set(
        budget,
        measured(w, h, { ...options, budget }, compute, () => solveAt(eliminations, w, budget, compute)),
      );
    return budgets.map((budget) => results.get(budget) as Factorization);
  });
}

interface Eliminations {
  readonly rows: RowEliminations;
  readonly sample: readonly number[];
  readonly damping: number;
}

function refuseLarge({ rows, columns }: Matrix): void {
  if (columns <= obcMaximumInputs) return;
  throw new DoubleSparseError(
    'layer-too-large',
    `Optimal Brain Compression of a ${rows}x${columns} weight: at most ${obcMaximumInputs} inputs are supported`,
    { data: { rows, columns, limit: obcMaximumInputs }, hint: 'use the method admm or sparsegpt' },
  );
}

function eliminationsOf(weight: Matrix, gram: Matrix, compute: Compute): Eliminations {
  const inverse = compute.arena.doubles(gram.rows ** 2);
  const damping = compute.scope(() => {
    const invert = (damped: Matrix): true | undefined => invertInFloat64(damped, inverse, compute) || undefined;
    return withDamping(withLiveInputs(gram, compute), compute, invert).damping;
  });
  return { rows: new RowEliminations(weight, inverse, compute), sample: sampleOfRows(weight, gram), damping };
}

function solveAt({ rows, sample, damping }: Eliminations, weight: Matrix, budget: number, compute: Compute): Solution {
  const counts = chooseRemovals(rows, sample, weight.rows * weight.columns - budget);
  const kept = compute.matrix(weight.rows, weight.columns);
  for (let row = 0; row < weight.rows; row++) rows.writeKept(row, counts[row], kept);
  return { factors: [kept], damping };
}

/** H with a little curvature where an input is always zero. */
function withLiveInputs(gram: Matrix, compute: Compute): Matrix {
  const n = gram.rows;
  const result = compute.matrix(n, n);
  result.data.set(gram.data);
  const values = diagonal(gram);
  const mean = values.reduce((sum, value) => sum + value / n, 0);
  for (const [i, value] of values.entries()) {
    if (!(value > 0)) result.data[i * n + i] = mean > 0 ? mean * deadCurvature : 1;
  }
  return result;
}

/** Rows spread evenly over the order of their energies sum_j w_ij^2 H_jj. */
function sampleOfRows(w: Matrix, gram: Matrix): number[] {
  const curvature = diagonal(gram);
  const energies = new Float64Array(w.rows);
  for (let i = 0; i < w.rows; i++) {
    for (let j = 0; j < w.columns; j++) energies[i] += w.data[i * w.columns + j] ** 2 * curvature[j];
  }
  const order = Array.from(energies.keys()).sort((a, b) => energies[a] - energies[b] || a - b);
  const count = Math.min(sampleRows, w.rows);
  return Array.from({ length: count }, (_, i) => order[Math.floor(((i + 0.5) * w.rows) / count)]);
}

/**
 * How many weights each row loses so that all lose `removals`. A removal's key is the largest loss of its row so far:
 * the smallest keys are what always taking the row with the cheapest next removal would choose.
 */
function chooseRemovals(rows: RowEliminations, sample: readonly number[], removals: number): Uint32Array {
  const { count, length } = rows;
  const sampled = sample.flatMap((row) => Array.from(rows.run(row, Number.POSITIVE_INFINITY)));
  sampled.sort((a, b) => a - b);
  let limit = 0;
  for (let share = removals / (count * length), found = -1; found < removals; share += nextShare) {
    limit = share < 1 ? sampled[Math.floor(share * sampled.length)] * headroom : Number.POSITIVE_INFINITY;
    found = 0;
    for (let row = 0; row < count; row++) found += countUpTo(rows.run(row, limit), limit);
  }
  const eligible = new Float64Array(rows.keys.reduce((sum, keys) => sum + countUpTo(keys, limit), 0));
  let at = 0;
  for (const keys of rows.keys) {
    const part = keys.subarray(0, countUpTo(keys, limit));
    eligible.set(part, at);
    at += part.length;
  }
  eligible.sort();
  const last = removals === 0 ? -1 : eligible[removals - 1];
  const counts = Uint32Array.from(rows.keys, (keys) => countBelow(keys, last));
  let rest = removals - counts.reduce((sum, value) => sum + value, 0);
  for (let row = 0; row < count && rest > 0; row++) {
    const ties = Math.min(rest, countUpTo(rows.keys[row], last) - counts[row]);
    counts[row] += ties;
    rest -= ties;
  }
  return counts;
}

/** Entries of an ascending array that are at most `limit`. */
function countUpTo(ascending: Float64Array, limit: number): number {
  let count = ascending.length;
  while (count > 0 && ascending[count - 1] > limit) count--;
  return count;
}

/** Entries of an ascending array that are less than `limit`. */
function countBelow(ascending: Float64Array, limit: number): number {
  let count = ascending.length;
  while (count > 0 && ascending[count - 1] >= limit) count--;
  return count;
}
