import type { Compute } from '../../linalg/compute.js';
import type { Kernels } from '../../linalg/kernels.js';
import type { Matrix } from '../../linalg/matrix.js';

/**
 * The greedy removals of every row of a weight (arXiv 2208.11580, Algorithm 1), in float64. The downdates of a row's
 * H^-1 are kept as the rows v_k of a pivoted Cholesky factor, H^-1 - sum v_k v_k^T, of which a step needs the diagonal
 * and one row.
 */
export class RowEliminations {
  /** For each row the keys of its removals as far as it has been run, ascending. */
  readonly keys: Float64Array[];
  /** Rows, and weights in a row. */
  readonly count: number;
  readonly length: number;
  readonly #order: Uint16Array[];
  /** How far each row has been run. */
  readonly #limits: Float64Array;
  readonly #weight: Matrix;
  /** [H^-1], inputs x inputs. */
  readonly #inverse: Float64Array;
  readonly #kernels: Kernels;
  // Scratch of one row. By position: those still there come first, in any order.
  readonly #columns: Uint16Array;
  readonly #values: Float64Array;
  readonly #pivots: Float64Array;
  readonly #current: Float64Array;
  readonly #coefficients: Float64Array;
  /** v_k by position, at k * length. */
  readonly #factor: Float64Array;

  /** @param inverse H^-1 in float64, row-major; scratch is taken from the arena of `compute`. */
  constructor(weight: Matrix, inverse: Float64Array, { arena, kernels }: Compute) {
    const n = weight.columns;
    this.count = weight.rows;
    this.length = n;
    this.keys = Array.from({ length: weight.rows }, () => new Float64Array(0));
    this.#order = Array.from({ length: weight.rows }, () => new Uint16Array(0));
    this.#limits = new Float64Array(weight.rows).fill(Number.NEGATIVE_INFINITY);
    this.#weight = weight;
    this.#inverse = inverse;
    this.#kernels = kernels;
    this.#columns = new Uint16Array(n);
    this.#values = arena.doubles(n);
    this.#pivots = arena.doubles(n);
    this.#current = arena.doubles(n);
    this.#coefficients = arena.doubles(n);
    this.#factor = arena.doubles(n * n);
  }

  /** Removes weights of a row, from the start, at least as long as the key is at most `limit`. Returns the keys. */
  run(row: number, limit: number): Float64Array {
    const n = this.length;
    const known = this.keys[row];
    if (known.length === n || limit <= this.#limits[row]) return known;
    this.#limits[row] = limit;
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
      this.#kernels.subtractRows(current.subarray(0, left), factor, n, step, coefficients);
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
      this.#kernels.subtractRows(current.subarray(0, length), factor.subarray(i), n, i, coefficients);
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
