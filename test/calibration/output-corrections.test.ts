import { describe, expect, test } from 'vitest';
import { ChannelMoments, type ChannelStatistics, outputMoments } from '../../src/calibration/channel-moments.js';
import {
  biasCorrection,
  correctedBatchNorm,
  foldedCorrection,
  reestimatedBatchNorm,
} from '../../src/calibration/output-corrections.js';
import type { Tensor } from '../../src/calibration/tensor.js';
import { errorOf } from '../formats/expect-error.js';
import { fillRandom, randomMatrix } from '../helpers.js';

const random = (seed: number, ...dims: number[]): Tensor => ({
  dims,
  data: fillRandom(new Float32Array(dims.reduce((a, b) => a * b)), seed),
});

function momentsOf(axis: number, ...batches: Tensor[]): ChannelStatistics {
  const moments = new ChannelMoments(axis);
  for (const batch of batches) moments.add(batch);
  return moments.finish();
}

/** y -> scale y + shift on the channels of axis 1. */
function applied({ dims, data }: Tensor, scale: ArrayLike<number>, shift: ArrayLike<number>): Tensor {
  const inner = data.length / (dims[0]! * dims[1]!);
  const channel = (i: number): number => Math.floor(i / inner) % dims[1]!;
  return { dims, data: data.map((value, i) => value * scale[channel(i)]! + shift[channel(i)]!) };
}

describe('moments of channels', () => {
  test('by the definition, on either axis, in any batches', () => {
    const [a, b] = [random(1, 3, 4, 5, 2), random(2, 7, 4, 5, 2)];
    const { mean, variance, count } = momentsOf(1, a, b);
    expect(count).toBe(100);
    const lastAxis = ({ dims, data }: Tensor): Tensor => {
      const [n, c] = dims as [number, number];
      const inner = data.length / (n * c);
      return {
        dims: [n, inner, c],
        data: Float32Array.from(
          data,
          (_, i) => data[(Math.floor(i / (c * inner)) * c + (i % c)) * inner + (Math.floor(i / c) % inner)]!,
        ),
      };
    };
    const other = momentsOf(-1, lastAxis(a), lastAxis(b));
    for (let c = 0; c < 4; c++) {
      const values = [a, b].flatMap(({ data }) => [...data].filter((_, i) => Math.floor(i / 10) % 4 === c));
      const expected = values.reduce((sum, value) => sum + value, 0) / 100;
      expect(mean[c]).toBeCloseTo(expected, 12);
      expect(variance[c]).toBeCloseTo(values.reduce((sum, value) => sum + (value - expected) ** 2, 0) / 100, 12);
      expect(other.mean[c]).toBeCloseTo(expected, 12);
      expect(other.variance[c]).toBeCloseTo(variance[c]!, 12);
    }
  });

  test('a small variance far from zero is not lost', () => {
    const { data, dims } = random(3, 100, 1, 8);
    const { variance } = momentsOf(1, ...[0, 1].map(() => ({ dims, data: data.map((value) => 1000 + value / 4) })));
    const exact = momentsOf(1, { dims, data: data.map((value) => value / 4) }).variance;
    expect(variance[0]! / exact[0]!).toBeCloseTo(1, 3);
  });

  test('other channels, or none, are refused', () => {
    errorOf(() => momentsOf(1, random(1, 2, 3), random(1, 2, 4)), 'shape-mismatch');
    errorOf(() => momentsOf(2, random(1, 2, 3)), 'shape-mismatch');
    errorOf(() => momentsOf(1), 'option-out-of-range');
    const inputs = { covariance: randomMatrix(3, 3, 1), mean: new Float64Array(3), count: 1 };
    errorOf(() => outputMoments(randomMatrix(2, 4, 1), undefined, inputs), 'shape-mismatch');
    errorOf(() => outputMoments(randomMatrix(2, 3, 1), new Float32Array(3), inputs), 'shape-mismatch');
  });
});

describe('corrections', () => {
  const dense = random(4, 20, 3, 6);
  const compressed = applied(random(5, 20, 3, 6), [0.5, 2, 0.1], [1, -3, 0.2]);
  const [before, after] = [momentsOf(1, dense), momentsOf(1, compressed)];

  test('the bias correction restores the means', () => {
    const { scale, shift } = biasCorrection(before, after);
    expect([...scale]).toEqual([1, 1, 1]);
    const corrected = momentsOf(1, applied(compressed, scale, shift));
    expect(corrected.mean).toBeAllclose(before.mean, { atol: 1e-6 });
    expect(corrected.variance).toBeAllclose(after.variance, { rtol: 1e-5 });
  });

  test('the folded correction restores means and variances', () => {
    const { scale, shift } = foldedCorrection(before, after);
    const corrected = momentsOf(1, applied(compressed, scale, shift));
    expect(corrected.mean).toBeAllclose(before.mean, { atol: 1e-6 });
    expect(corrected.variance).toBeAllclose(before.variance, { rtol: 1e-5 });
  });

  test('a channel without variance keeps its scale', () => {
    const dead = { ...after, variance: Float64Array.of(0, 1, 1) };
    const { scale, shift } = foldedCorrection(before, dead);
    expect(scale[0]).toBe(1);
    expect(shift[0]).toBeCloseTo(before.mean[0]! - after.mean[0]!, 12);
  });

  const norm = { scale: [2, 1, 3], shift: [0, 1, -1], mean: [0.1, 0, -0.1], variance: [0.3, 0.4, 0.2], epsilon: 1e-5 };
  const normalized = (
    input: Tensor,
    { mean, variance }: typeof norm | ReturnType<typeof reestimatedBatchNorm>,
  ): Tensor => {
    const scale = norm.scale.map((value, c) => value / Math.sqrt(variance[c]! + norm.epsilon));
    return applied(
      input,
      scale,
      norm.shift.map((value, c) => value - scale[c]! * mean[c]!),
    );
  };

  test('behind a re-estimated batch normalisation, mean and variance are its shift and scale', () => {
    const result = reestimatedBatchNorm(norm, after);
    expect(result).toMatchObject({ scale: norm.scale, shift: norm.shift, epsilon: norm.epsilon });
    const { mean, variance } = momentsOf(1, normalized(compressed, result));
    expect(mean).toBeAllclose(norm.shift, { atol: 1e-5 });
    // The unbiased variance is 120/119 of the plain one; epsilon is small beside it.
    expect(variance.map((value) => value * (120 / 119))).toBeAllclose([4, 1, 9], { rtol: 0.01 });
  });

  test('behind a corrected batch normalisation they are what they were in the dense model', () => {
    const result = correctedBatchNorm(norm, before, after);
    const corrected = momentsOf(1, normalized(compressed, result));
    const wanted = momentsOf(1, normalized(dense, norm));
    expect(corrected.mean).toBeAllclose(wanted.mean, { atol: 1e-5 });
    expect(corrected.variance).toBeAllclose(wanted.variance, { rtol: 1e-5 });
    const unchanged = correctedBatchNorm(norm, before, before);
    expect(unchanged.mean).toBeAllclose(norm.mean, { atol: 1e-15 });
    expect(unchanged.variance).toBeAllclose(norm.variance, { atol: 1e-15 });
  });

  test('statistics of other channels are refused', () => {
    const two = momentsOf(1, random(1, 5, 2));
    errorOf(() => biasCorrection(before, two), 'shape-mismatch');
    errorOf(() => foldedCorrection(before, two), 'shape-mismatch');
    errorOf(() => reestimatedBatchNorm(norm, two), 'shape-mismatch');
    errorOf(() => correctedBatchNorm(norm, before, two), 'shape-mismatch');
  });
});
