import type { Tensor } from '../calibration/tensor.js';
import { DoubleSparseError } from '../errors.js';
import { indexOfLargest } from '../linalg/index-of-largest.js';

/** How far the outputs of one model are from those of another. */
export interface Parity {
  /** Values compared. */
  readonly count: number;
  readonly maximumAbsolute: number;
  readonly meanAbsolute: number;
  /** Largest difference as a part of the largest expected magnitude. */
  readonly maximumRelative: number;
  /** Sum of the differences as a part of the sum of the expected magnitudes. */
  readonly meanRelative: number;
  /** Of the angle between all outputs of both, as one vector; 1 if both are zero. */
  readonly cosine: number;
  /** The part of the images whose largest output is the same; undefined where outputs are not images x classes. */
  readonly sameClass: number | undefined;
}

/**
 * Differences of outputs over any number of batches. Relative errors compare with the whole of the outputs: single values
 * near zero would make those of every value meaningless.
 */
export class OutputParity {
  #added = false;
  #count = 0;
  #largestDifference = 0;
  #largestExpected = 0;
  #differences = 0;
  #magnitudes = 0;
  #product = 0;
  #expectedSquares = 0;
  #actualSquares = 0;
  #images = 0;
  #same: number | undefined = 0;

  /** @throws DoubleSparseError `shape-mismatch`, `non-finite-value` */
  add(expected: Tensor, actual: Tensor): void {
    if (expected.dims.join() !== actual.dims.join()) {
      throw new DoubleSparseError('shape-mismatch', `outputs of [${actual.dims}] and of [${expected.dims}]`, {
        data: { expected: expected.dims, actual: actual.dims },
        hint: 'compare a compressed model with the one that it was made from',
      });
    }
    for (let i = 0; i < expected.data.length; i++) {
      const [x, y] = [expected.data[i] as number, actual.data[i] as number];
      const difference = Math.abs(x - y);
      if (!Number.isFinite(difference)) {
        throw new DoubleSparseError('non-finite-value', `outputs at index ${i} are ${x} and ${y}`, {
          data: { index: i, expected: String(x), actual: String(y) },
        });
      }
      if (difference > this.#largestDifference) this.#largestDifference = difference;
      if (Math.abs(x) > this.#largestExpected) this.#largestExpected = Math.abs(x);
      this.#differences += difference;
      this.#magnitudes += Math.abs(x);
      this.#product += x * y;
      this.#expectedSquares += x * x;
      this.#actualSquares += y * y;
    }
    this.#addClasses(expected, actual);
    this.#added = true;
    this.#count += expected.data.length;
  }

  #addClasses({ dims: [images = 0, classes = 1, ...others], data }: Tensor, actual: Tensor): void {
    if (classes === 1 || others.some((size) => size !== 1)) this.#same = undefined;
    if (this.#same === undefined) return;
    this.#images += images;
    for (let from = 0; from < data.length; from += classes) {
      const classOf = (outputs: Float32Array): number => indexOfLargest(outputs.subarray(from, from + classes));
      if (classOf(data) === classOf(actual.data)) this.#same++;
    }
  }

  /**
   * Outputs without values are equal.
   * @throws DoubleSparseError `option-out-of-range` when nothing was added
   */
  finish(): Parity {
    if (!this.#added) {
      throw new DoubleSparseError('option-out-of-range', 'a comparison of no outputs', { data: { count: 0 } });
    }
    const norms = Math.sqrt(this.#expectedSquares * this.#actualSquares);
    const bothZero = this.#expectedSquares === 0 && this.#actualSquares === 0;
    return {
      count: this.#count,
      maximumAbsolute: this.#largestDifference,
      meanAbsolute: part(this.#differences, this.#count),
      maximumRelative: part(this.#largestDifference, this.#largestExpected),
      meanRelative: part(this.#differences, this.#magnitudes),
      cosine: bothZero ? 1 : part(this.#product, norms),
      sameClass: this.#same === undefined || this.#images === 0 ? undefined : this.#same / this.#images,
    };
  }
}

/** a / b, with 0 / 0 = 0. */
const part = (a: number, b: number): number => (a === 0 ? 0 : a / b);
