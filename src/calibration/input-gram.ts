import { DoubleSparseError } from '../errors.js';
import type { Compute } from '../linalg/compute.js';
import { elementCount } from '../linalg/element-count.js';
import { firstNonFinite } from '../linalg/finite.js';
import { type Matrix, matrix, rowsOf, zeros } from '../linalg/matrix.js';
import { addCrossGram, addGram, meanCrossGram, meanGram } from './gram.js';
import type { Tensor } from './tensor.js';

/** What calibration tells about the inputs of a matrix: vectors x of length `in`, one a position. */
export interface InputStatistics {
  /** (1/N) sum (x - E[x]) (x - E[x])^T, in x in. */
  readonly covariance: Matrix;
  /** (1/N) sum x. */
  readonly mean: Float64Array;
  /** N, the number of positions. */
  readonly count: number;
  /** Where outputs were given that are wanted for those inputs. */
  readonly target?: TargetStatistics | undefined;
}

/** What calibration tells about wanted outputs t of length `out`, together with the inputs x of the same positions. */
export interface TargetStatistics {
  /** (1/N) sum (t - E[t]) (x - E[x])^T, out x in. */
  readonly covariance: Matrix;
  /** (1/N) sum t, and (1/N) sum t^2 of each output. */
  readonly mean: Float64Array;
  readonly meanSquare: Float64Array;
}

/**
 * Sums of inputs and of their products over any number of batches. The products are those of inputs less a constant, the
 * mean of the first batch: of inputs that vary little around a large mean, sums of fp32 would keep nothing but the mean.
 */
export class InputGram {
  readonly #compute: Compute;
  readonly #products: Matrix;
  readonly #sum: Float64Array;
  #constant: Float32Array | undefined;
  readonly #target: { readonly cross: Matrix; readonly sum: Float64Array; readonly squares: Float64Array } | undefined;
  #count = 0;

  /**
   * @param inputs length of an input vector.
   * @param outputs length of the vectors of wanted outputs (default 0: there are none).
   */
  constructor(compute: Compute, inputs: number, outputs = 0) {
    this.#compute = compute;
    this.#products = zeros(inputs, inputs);
    this.#sum = new Float64Array(inputs);
    if (outputs > 0) {
      const [sum, squares] = [new Float64Array(outputs), new Float64Array(outputs)];
      this.#target = { cross: zeros(outputs, inputs), sum, squares };
    }
  }

  /**
   * @param rows positions x in.
   * @param targets positions x out, where wanted outputs are gathered.
   */
  addRows(rows: Matrix, targets?: Matrix): void {
    if (rows.rows === 0) return;
    const first = this.#count === 0;
    const compute = this.#compute;
    this.#constant ??= columnMeans(rows);
    const constant = this.#constant;
    compute.scope(() => {
      const varying = compute.matrix(rows.rows, rows.columns);
      for (let i = 0, at = 0; i < rows.rows; i++)
        for (let j = 0; j < rows.columns; j++, at++)
          varying.data[at] = (rows.data[at] as number) - (constant[j] as number);
      addGram(compute, varying, this.#products, first);
      addColumns(rows, this.#sum);
      if (targets && this.#target) addCrossGram(compute, targets, varying, this.#target.cross, first);
    });
    this.#count += rows.rows;
    if (targets && this.#target) addColumns(targets, this.#target.sum, this.#target.squares);
  }

  /**
   * The means; the sums become part of them, so that this is the last call.
   * @throws DoubleSparseError `option-out-of-range` when nothing was added
   */
  finish(): InputStatistics {
    if (this.#count === 0) {
      throw new DoubleSparseError('option-out-of-range', 'a Gram matrix of no inputs', { data: { count: 0 } });
    }
    const count = this.#count;
    const constant = this.#constant as Float32Array;
    const meanOf = (sum: Float64Array): Float64Array => sum.map((value) => value / count);
    const mean = meanOf(this.#sum);
    // E[x] - s: small next to s, so that little is lost where its products are taken away.
    const rest = mean.map((value, i) => value - (constant[i] as number));
    const covariance = plusProduct(meanGram([this.#products], count), -1, rest, rest);
    for (let i = 0; i < covariance.data.length; i += covariance.columns + 1)
      covariance.data[i] = Math.max(0, covariance.data[i] as number);
    if (!this.#target) return { covariance, mean, count };
    const { cross, sum, squares } = this.#target;
    const target = { mean: meanOf(sum), meanSquare: meanOf(squares) };
    return {
      covariance,
      mean,
      count,
      target: { ...target, covariance: plusProduct(meanCrossGram([cross], count), -1, target.mean, rest) },
    };
  }
}

/** E[a b^T] of vectors with these means: H = E[x x^T] from the covariance of x. */
export function secondMoments(
  covariance: Matrix,
  means: readonly [a: ArrayLike<number>, b: ArrayLike<number>],
): Matrix {
  return plusProduct({ ...covariance, data: covariance.data.slice() }, 1, ...means);
}

/** target + factor left right^T, in place. */
function plusProduct(target: Matrix, factor: number, left: ArrayLike<number>, right: ArrayLike<number>): Matrix {
  const { columns, data } = target;
  for (let i = 0, at = 0; at < data.length; i++)
    for (let j = 0; j < columns; j++, at++)
      data[at] = (data[at] as number) + factor * ((left[i] as number) * (right[j] as number));
  return target;
}

function columnMeans(rows: Matrix): Float32Array {
  const sums = new Float64Array(rows.columns);
  addColumns(rows, sums);
  return Float32Array.from(sums, (sum) => sum / rows.rows);
}

function addColumns({ columns, data }: Matrix, sums: Float64Array, squares?: Float64Array): void {
  for (let from = 0; from < data.length; from += columns) {
    for (let j = 0; j < columns; j++) {
      const value = data[from + j] as number;
      sums[j] = (sums[j] as number) + value;
      if (squares) squares[j] = (squares[j] as number) + value * value;
    }
  }
}

/** Rows multiplied at a time: more copies would not be faster. */
const chunkRows = 4096;

/**
 * Adds the input of a matrix product (MatMul, Gemm): every vector along the last dimension is one position.
 * @param layer for messages.
 * @param target wanted outputs of the same positions.
 * @throws DoubleSparseError `shape-mismatch` when the vectors have another length, `non-finite-value`
 */
export function addProductInputs(gram: InputGram, inputs: number, input: Tensor, layer: string, target?: Tensor): void {
  const { dims, data } = input;
  const length = dims.at(-1) ?? 1;
  if (length !== inputs) {
    throw new DoubleSparseError('shape-mismatch', `${layer} takes vectors of ${inputs}, its input is [${dims}]`, {
      data: { layer, inputs, dims },
    });
  }
  checkFinite(input, layer);
  const rows = { rows: elementCount(dims) / length, columns: length, data };
  const targets = target && matrix(rows.rows, target.data.length / rows.rows, target.data);
  for (let from = 0; from < rows.rows; from += chunkRows) {
    const count = Math.min(chunkRows, rows.rows - from);
    gram.addRows(rowsOf(rows, from, count), targets && rowsOf(targets, from, count));
  }
}

/** @throws DoubleSparseError `non-finite-value` naming layer and place */
export function checkFinite({ data, dims }: Tensor, layer: string): void {
  const index = firstNonFinite(data);
  if (index === -1) return;
  throw new DoubleSparseError(
    'non-finite-value',
    `the input of ${layer} is ${data[index]} at index ${index} of [${dims}]`,
    {
      data: { layer, index, dims, value: String(data[index]) },
      hint: 'do the images and their preprocessing (--scale, --mean, --std) fit the model?',
    },
  );
}
