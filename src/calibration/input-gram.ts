import { DoubleSparseError } from '../errors.js';
import type { Compute } from '../linalg/compute.js';
import { elementCount } from '../linalg/element-count.js';
import { firstNonFinite } from '../linalg/finite.js';
import { type Matrix, rowsOf, zeros } from '../linalg/matrix.js';
import { addGram, meanGram } from './gram.js';
import type { Tensor } from './tensor.js';

/** What calibration tells about the inputs of a matrix: vectors x of length `in`, one a position. */
export interface InputStatistics {
  /** H = (1/N) sum x x^T, in x in. */
  readonly gram: Matrix;
  /** (1/N) sum x. */
  readonly mean: Float64Array;
  /** N, the number of positions. */
  readonly count: number;
}

/** Sums of inputs and of their products over any number of batches. */
export class InputGram {
  readonly #compute: Compute;
  readonly #products: Matrix;
  readonly #sum: Float64Array;
  #count = 0;

  /** @param inputs length of an input vector. */
  constructor(compute: Compute, inputs: number) {
    this.#compute = compute;
    this.#products = zeros(inputs, inputs);
    this.#sum = new Float64Array(inputs);
  }

  /** @param rows positions x in. */
  addRows(rows: Matrix): void {
    if (rows.rows === 0) return;
    addGram(this.#compute, rows, this.#products, this.#count === 0);
    const { columns, data } = rows;
    const sum = this.#sum;
    for (let from = 0; from < data.length; from += columns)
      for (let j = 0; j < columns; j++) sum[j] = (sum[j] as number) + (data[from + j] as number);
    this.#count += rows.rows;
  }

  /**
   * The means; the sums become part of them, so that this is the last call.
   * @throws DoubleSparseError `option-out-of-range` when nothing was added
   */
  finish(): InputStatistics {
    if (this.#count === 0) {
      throw new DoubleSparseError('option-out-of-range', 'a Gram matrix of no inputs', { data: { count: 0 } });
    }
    const mean = this.#sum.map((value) => value / this.#count);
    return { gram: meanGram([this.#products], this.#count), mean, count: this.#count };
  }
}

/** Rows multiplied at a time: more copies would not be faster. */
const chunkRows = 4096;

/**
 * Adds the input of a matrix product (MatMul, Gemm): every vector along the last dimension is one position.
 * @param layer for messages.
 * @throws DoubleSparseError `shape-mismatch` when the vectors have another length, `non-finite-value`
 */
export function addProductInputs(gram: InputGram, inputs: number, input: Tensor, layer: string): void {
  const { dims, data } = input;
  const length = dims.at(-1) ?? 1;
  if (length !== inputs) {
    throw new DoubleSparseError('shape-mismatch', `${layer} takes vectors of ${inputs}, its input is [${dims}]`, {
      data: { layer, inputs, dims },
    });
  }
  checkFinite(input, layer);
  const rows = { rows: elementCount(dims) / length, columns: length, data };
  for (let from = 0; from < rows.rows; from += chunkRows)
    gram.addRows(rowsOf(rows, from, Math.min(chunkRows, rows.rows - from)));
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
