import { DoubleSparseError } from '../errors.js';
import type { ChannelStatistics } from './channel-moments.js';

/** Of a compressed channel with less variance than this part of the dense one's, nothing is left that could be scaled. */
const vanishedVariance = 1e-8;

/** What to do to every output channel of a compressed layer: y -> scale y + shift. */
export interface ChannelCorrection {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** Parameters of a batch normalisation: y = scale (x - mean) / sqrt(variance + epsilon) + shift. */
export interface BatchNormParameters {
  readonly scale: ArrayLike<number>;
  readonly shift: ArrayLike<number>;
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
  readonly epsilon: number;
}

/**
 * Bias correction: the mean of every channel becomes that of the dense layer; scale 1.
 * @param dense statistics of the dense layer's outputs.
 * @param compressed of the compressed layer's.
 * @throws DoubleSparseError `shape-mismatch`
 */
export function biasCorrection(dense: ChannelStatistics, compressed: ChannelStatistics): ChannelCorrection {
  checkChannels(dense.mean.length, compressed.mean.length);
  return {
    scale: new Float64Array(dense.mean.length).fill(1),
    shift: dense.mean.map((mean, c) => mean - (compressed.mean[c] as number)),
  };
}

/**
 * Mean and variance of every channel become those of the dense layer. For layers with a batch normalisation folded into
 * them this is what re-estimating it would do, its epsilon aside; its parameters are gone. A channel that lost its
 * variance is not scaled.
 * @throws DoubleSparseError `shape-mismatch`
 */
export function foldedCorrection(dense: ChannelStatistics, compressed: ChannelStatistics): ChannelCorrection {
  checkChannels(dense.mean.length, compressed.mean.length);
  const scale = dense.variance.map((variance, c) => varianceRatio(variance, compressed.variance[c] as number) ** 0.5);
  const shift = dense.mean.map((mean, c) => mean - (scale[c] as number) * (compressed.mean[c] as number));
  return { scale, shift };
}

/**
 * Re-estimation, as of the paper's convolutional networks and of Optimal Brain Compression: running mean and variance
 * become those of the compressed network on the calibration images. Variance is the unbiased one, as PyTorch's.
 * @throws DoubleSparseError `shape-mismatch`
 */
export function reestimatedBatchNorm(norm: BatchNormParameters, compressed: ChannelStatistics): BatchNormParameters {
  checkChannels(norm.mean.length, compressed.mean.length);
  const { mean, variance, count } = compressed;
  const unbiased = count > 1 ? count / (count - 1) : 1;
  return { ...norm, mean: mean.slice(), variance: variance.map((value) => value * unbiased) };
}

/**
 * Running mean and variance such that mean and variance of every channel behind the normalisation are on the calibration
 * images what they are in the dense model: variance + epsilon times v'/v, mean m' - (m - mean) times the ratio of the
 * deviations. Unlike {@link reestimatedBatchNorm} it keeps what the model learnt from all of its training images, and
 * changes nothing where nothing was compressed.
 * @throws DoubleSparseError `shape-mismatch`
 */
export function correctedBatchNorm(
  norm: BatchNormParameters,
  dense: ChannelStatistics,
  compressed: ChannelStatistics,
): BatchNormParameters {
  checkChannels(norm.mean.length, compressed.mean.length);
  checkChannels(dense.mean.length, compressed.mean.length);
  const { epsilon } = norm;
  const variance = dense.variance.map((value, c) => {
    const ratio = varianceRatio(value, compressed.variance[c] as number);
    return Math.max(0, ((norm.variance[c] as number) + epsilon) / ratio - epsilon);
  });
  const mean = dense.mean.map((value, c) => {
    const deviations = Math.sqrt(((variance[c] as number) + epsilon) / ((norm.variance[c] as number) + epsilon));
    return (compressed.mean[c] as number) - (value - (norm.mean[c] as number)) * deviations;
  });
  return { ...norm, mean, variance };
}

/** dense / compressed, or 1 where there is nothing to divide. */
function varianceRatio(dense: number, compressed: number): number {
  return dense > 0 && compressed > vanishedVariance * dense ? dense / compressed : 1;
}

function checkChannels(expected: number, actual: number): void {
  if (expected === actual) return;
  throw new DoubleSparseError('shape-mismatch', `statistics of ${actual} channels for ${expected}`, {
    data: { expected, actual },
  });
}
