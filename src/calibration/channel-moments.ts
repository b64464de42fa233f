import { DoubleSparseError } from '../errors.js';
import { elementCount } from '../linalg/element-count.js';
import type { Matrix } from '../linalg/matrix.js';
import type { InputStatistics } from './input-gram.js';
import type { Tensor } from './tensor.js';

/** Mean and variance of every channel of an output, over images and positions. */
export interface ChannelStatistics {
  readonly mean: Float64Array;
  /** Mean squared distance from the mean (divided by the count, not by one less). */
  readonly variance: Float64Array;
  /** Values a channel. */
  readonly count: number;
}

/** Moments of channels over any number of batches, in float64. */
export class ChannelMoments {
  readonly #axis: number;
  #mean = new Float64Array(0);
  /** Sums of squared distances from the mean. */
  #squares = new Float64Array(0);
  #count = 0;

  /** @param axis of the channels; negative counts from the end (default 1: N x C x ...). */
  constructor(axis = 1) {
    this.#axis = axis;
  }

  /**
   * Adds a batch, which is merged with what is known by the parallel formula of Chan, Golub and LeVeque (1979): no
   * difference of large sums.
   * @throws DoubleSparseError `shape-mismatch` when the number of channels changes
   */
  add({ dims, data }: Tensor): void {
    const axis = this.#axis < 0 ? dims.length + this.#axis : this.#axis;
    const channels = dims[axis];
    if (channels === undefined || (this.#count > 0 && channels !== this.#mean.length)) {
      const expected = this.#count > 0 ? `${this.#mean.length} channels` : 'channels';
      throw new DoubleSparseError('shape-mismatch', `[${dims}] does not have ${expected} on axis ${this.#axis}`, {
        data: { dims, axis: this.#axis },
      });
    }
    const inner = elementCount(dims.slice(axis + 1));
    const outer = elementCount(dims.slice(0, axis));
    const added = outer * inner;
    if (added === 0) return;
    if (this.#count === 0) {
      this.#mean = new Float64Array(channels);
      this.#squares = new Float64Array(channels);
    }
    const total = this.#count + added;
    for (let c = 0; c < channels; c++) {
      const { mean, squares } = moments(data, c * inner, channels * inner, outer, inner);
      const difference = mean - (this.#mean[c] as number);
      this.#mean[c] = (this.#mean[c] as number) + (difference * added) / total;
      this.#squares[c] = (this.#squares[c] as number) + squares + (difference ** 2 * this.#count * added) / total;
    }
    this.#count = total;
  }

  /** @throws DoubleSparseError `option-out-of-range` when nothing was added */
  finish(): ChannelStatistics {
    if (this.#count === 0) {
      throw new DoubleSparseError('option-out-of-range', 'moments of no outputs', { data: { count: 0 } });
    }
    return { mean: this.#mean.slice(), variance: this.#squares.map((sum) => sum / this.#count), count: this.#count };
  }
}

/** Mean and squared distances of `outer` runs of `inner` values, the first at `from`, `step` apart. */
function moments(data: Float32Array, from: number, step: number, outer: number, inner: number) {
  let sum = 0;
  for (let o = 0; o < outer; o++) for (let i = from + o * step, end = i + inner; i < end; i++) sum += data[i] as number;
  const mean = sum / (outer * inner);
  let squares = 0;
  for (let o = 0; o < outer; o++)
    for (let i = from + o * step, end = i + inner; i < end; i++) squares += ((data[i] as number) - mean) ** 2;
  return { mean, squares };
}

/**
 * Moments of the outputs W x + b from those of the inputs, without running anything: mean W E[x] + b, variance
 * w S w^T of each row w, S the covariance of the inputs.
 * @param weight out x in; the product of the factors of a compressed layer.
 * @param bias one an output (default: zeros).
 */
export function outputMoments(
  weight: Matrix,
  bias: Float32Array | undefined,
  inputs: InputStatistics,
): ChannelStatistics {
  const { rows, columns, data } = weight;
  const { covariance, mean: inputMean, count } = inputs;
  if (covariance.rows !== columns || (bias && bias.length !== rows)) {
    throw new DoubleSparseError(
      'shape-mismatch',
      `a ${rows}x${columns} weight, a covariance of ${covariance.rows} inputs and ${bias?.length ?? 'no'} biases`,
      { data: { rows, columns, inputs: covariance.rows, biases: bias?.length ?? 0 } },
    );
  }
  const mean = new Float64Array(rows);
  const variance = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let [first, squares] = [0, 0];
    for (let i = 0; i < columns; i++) {
      const w = data[r * columns + i] as number;
      if (w === 0) continue;
      let product = 0;
      for (let j = 0; j < columns; j++)
        product += (covariance.data[i * columns + j] as number) * (data[r * columns + j] as number);
      first += w * (inputMean[i] as number);
      squares += w * product;
    }
    mean[r] = first + (bias?.[r] ?? 0);
    // Rounding of the covariance, fp32, can make a channel without variance negative.
    variance[r] = Math.max(0, squares);
  }
  return { mean, variance, count };
}
