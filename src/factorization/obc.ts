import { DoubleSparseError } from '../errors.js';
import { withDamping } from '../linalg/cholesky.js';
import type { Compute } from '../linalg/compute.js';
import { invertInFloat64, subtractRows } from '../linalg/float64-inverse.js';
import { diagonal, type Matrix } from '../linalg/matrix.js';
import type { FactorizationMethod } from './factorization.js';
import { measured } from './measure.js';

/** Above, one row takes seconds and its factor rows more than 128 MiB. */
const maximumInputs = 4096;
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
 * All in float64, about out in^3 / 12 multiplications at sparsity 0.5: 15 ms for a row of 576 weights, 0.25 s for one of
 * 1536. The downdates of a row's H^-1 are kept as the rows v_k of a pivoted Cholesky factor, H^-1 - sum v_k v_k^T, of
 * which a step needs the diagonal and one row.
 * @throws DoubleSparseError `layer-too-large` above 4096 inputs
 */
export const obc: FactorizationMethod = (weight, gram, options, compute) => {
  const { rows: out, columns: inputs } = weight;
  if (inputs > maximumInputs) {
    throw new DoubleSparseError(
      'layer-too-large',
      `Optimal Brain Compression of a ${out}x${inputs} weight: at most ${maximumInputs} inputs are supported`,
      { data: { rows: out, columns: inputs, limit: maximumInputs }, hint: 'use the method admm or sparsegpt' },
    );
  }
  return measured(weight, gram, options, compute, (w, h, budget) => {
    const { result: inverse, damping } = withDamping(withLiveInputs(h, compute), compute, invertInFloat64);
    const rows = new RowEliminations(w, inverse);
    const counts = chooseRemovals(rows, sampleOfRows(w, h), out * inputs - budget);
    const kept = compute.matrix(out, inputs);
    for (let row = 0; row < out; row++) rows.writeKept(row, counts[row], kept);
    return { factors: [kept], damping };
  });
};

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

/** The greedy removals of every row of a weight. */
class RowEliminations {
  /** For each row the keys of its removals as far as it has been run, ascending. */
  readonly keys: Float64Array[];
  /** Rows, and weights in a row. */
  readonly count: number;
  readonly length: number;
  readonly #order: Uint16Array[];
  readonly #weight: Matrix;
  readonly #inverse: Float64Array;
  // Scratch of one row. By position: those still there come first, in any order.
  readonly #columns: Uint16Array;
  readonly #values: Float64Array;
  readonly #pivots: Float64Array;
  readonly #current: Float64Array;
  readonly #coefficients: Float64Array;
  /** v_k by position, at k * length. */
  readonly #factor: Float64Array;

  constructor(weight: Matrix, inverse: Float64Array) {
    const n = weight.columns;
    this.count = weight.rows;
    this.length = n;
    this.keys = Array.from({ length: weight.rows }, () => new Float64Array(0));
    this.#order = Array.from({ length: weight.rows }, () => new Uint16Array(0));
    this.#weight = weight;
    this.#inverse = inverse;
    this.#columns = new Uint16Array(n);
    this.#values = new Float64Array(n);
    this.#pivots = new Float64Array(n);
    this.#current = new Float64Array(n);
    this.#coefficients = new Float64Array(n);
    this.#factor = new Float64Array(n * n);
  }

  /** Removes weights of a row, from the start, as long as the key is at most `limit`. Returns the keys. */
  run(row: number, limit: number): Float64Array {
    const n = this.length;
    const known = this.keys[row];
    if (known.length === n) return known;
    const columns = this.#columns;
    const values = this.#values;
    const pivots = this.#pivots;
    const current = this.#current;
    const coefficients = this.#coefficients;
    const factor = this.#factor;
    const inverse = this.#inverse;
    const keys = new Float64Array(n);
    const order = new Uint16Array(n);
    for (let j = 0; j < n; j++) {
      columns[j] = j;
      values[j] = this.#weight.data[row * n + j];
      pivots[j] = inverse[j * n + j];
    }
    let key = 0;
    let step = 0;
    for (; step < n; step++) {
      const left = n - step;
      let best = 0;
      let least = Number.POSITIVE_INFINITY;
      for (let j = 0; j < left; j++) {
        const loss = (values[j] * values[j]) / pivots[j];
        if (loss < least || (loss === least && columns[j] < columns[best])) {
          least = loss;
          best = j;
        }
      }
      if (least > key) key = least;
      if (key > limit) break;
      keys[step] = key;
      order[step] = columns[best];

      const from = columns[best] * n;
      for (let j = 0; j < left; j++) current[j] = inverse[from + columns[j]];
      for (let k = 0; k < step; k++) coefficients[k] = factor[k * n + best];
      subtractRows(current, left, factor, n, 0, step, coefficients);
      const pivot = pivots[best];
      const multiplier = values[best] / pivot;
      const scale = 1 / Math.sqrt(pivot);
      const target = step * n;
      for (let j = 0; j < left; j++) {
        values[j] -= multiplier * current[j];
        const v = current[j] * scale;
        factor[target + j] = v;
        // Never below its rounding error, or the loss would turn negative.
        pivots[j] = Math.max(pivots[j] - v * v, pivots[j] * Number.EPSILON);
      }
      const final = left - 1;
      columns[best] = columns[final];
      values[best] = values[final];
      pivots[best] = pivots[final];
      for (let k = 0; k <= step; k++) factor[k * n + best] = factor[k * n + final];
    }
    this.keys[row] = keys.slice(0, step);
    this.#order[row] = order.slice(0, step);
    return this.keys[row];
  }

  /**
   * Writes a row without the first `removed` weights R of its order, the others S at their optimum
   * w_S - [H^-1]_SR ([H^-1]_RR)^-1 w_R: what the single updates lead to, without their history.
   */
  writeKept(row: number, removed: number, target: Matrix): void {
    const n = this.length;
    const factor = this.#factor;
    const inverse = this.#inverse;
    const coefficients = this.#coefficients;
    const order = this.#order[row].slice(0, removed).sort();
    const solution = this.#values;
    const current = this.#current;
    // [H^-1]_RR = F^T F, F upper triangular; F^T y = w_R on the way.
    for (let i = 0; i < removed; i++) {
      const from = order[i] * n;
      const length = removed - i;
      for (let j = 0; j < length; j++) current[j] = inverse[from + order[i + j]];
      for (let k = 0; k < i; k++) coefficients[k] = factor[k * n + i];
      subtractRows(current, length, factor, n, i, i, coefficients);
      const scale = 1 / Math.sqrt(Math.max(current[0], inverse[from + order[i]] * Number.EPSILON));
      for (let j = 0; j < length; j++) factor[i * n + i + j] = current[j] * scale;
      let sum = this.#weight.data[row * n + order[i]];
      for (let k = 0; k < i; k++) sum -= coefficients[k] * solution[k];
      solution[i] = sum * scale;
    }
    for (let i = removed - 1; i >= 0; i--) {
      let sum = solution[i];
      for (let j = i + 1; j < removed; j++) sum -= factor[i * n + j] * solution[j];
      solution[i] = sum / factor[i * n + i];
    }
    for (let j = 0; j < n; j++) current[j] = this.#weight.data[row * n + j];
    for (let i = 0; i < removed; i++) {
      const from = order[i] * n;
      const coefficient = solution[i];
      for (let j = 0; j < n; j++) current[j] -= coefficient * inverse[from + j];
    }
    for (let i = 0; i < removed; i++) current[order[i]] = 0;
    target.data.set(current, row * n);
  }
}
