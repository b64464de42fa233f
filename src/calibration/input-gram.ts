import { DoubleSparseError } from '../errors.js';
import type { Compute } from '../linalg/compute.js';
import { elementCount } from '../linalg/element-count.js';
import { firstNonFinite } from '../linalg/finite.js';
import { type Matrix, matrix, rowsOf, zeros } from '../linalg/matrix.js';
import { addCrossGram, addGram, meanCrossGram, meanGram } from './gram.js';
import type { Tensor } from './tensor.js';

/** What calibration tells about the inputs of a matrix: vectors x of length `in`, one a position. */
export interface InputStatistics {
  /** H = (1/N) sum x x^T, in x in. */
  readonly gram: Matrix;
  /** (1/N) sum x. */
  readonly mean: Float64Array;
  /** N, the number of positions. */
  readonly count: number;
  /** Where outputs were given that are wanted for those inputs. */
  readonly target?: TargetStatistics | undefined;
}

/** What calibration tells about wanted outputs t of length `out`, together with the inputs x of the same positions. */
export interface TargetStatistics {
  /** (1/N) sum t x^T, out x in. */
  readonly cross: Matrix;
  /** (1/N) sum t, and (1/N) sum t^2 of each output. */
  readonly mean: Float64Array;
  readonly meanSquare: Float64Array;
}

/** Sums of inputs and of their products over any number of batches. */
export class InputGram {
  readonly #compute: Compute;
  readonly #products: Matrix;
  readonly #sum: Float64Array;
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
    addGram(this.#compute, rows, this.#products, first);
    addColumns(rows, this.#sum);
    this.#count += rows.rows;
    if (!targets || !this.#target) return;
    addCrossGram(this.#compute, targets, rows, this.#target.cross, first);
    addColumns(targets, this.#target.sum, this.#target.squares);
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
    const meanOf = (sum: Float64Array): Float64Array => sum.map((value) => value / count);
    const target = this.#target && {
      cross: meanCrossGram([this.#target.cross], count),
      mean: meanOf(this.#target.sum),
      meanSquare: meanOf(this.#target.squares),
    };
    return { gram: meanGram([this.#products], count), mean: meanOf(this.#sum), count, target };
  }
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
