import type { Matrix } from '../linalg/matrix.js';
import { eachPlace, imagesOf, type Windows } from './windows.js';

/**
 * Elementwise passes of the backward pass; everything else is matrix products. The plain loops here are the oracle and
 * serve arrays anywhere; SIMD kernels over the arena (wasm-kernels.ts) take their place behind the same interface.
 */
export interface TrainingKernels {
  /**
   * Patches of some channels of images (im2col): positions of the output x (places of the kernel * channels). What lies
   * outside of the image stays as it is in `patches`.
   */
  gatherPatches(windows: Windows, x: Matrix, channels: ChannelRange, patches: Matrix): void;
  /** Adds patches to the places that they were gathered from. */
  scatterPatches(windows: Windows, patches: Matrix, channels: ChannelRange, x: Matrix): void;
  /** target = x factors + offsets, column by column; x is rows x factors.length. */
  scaleAndShift(target: Float32Array, x: Float32Array, factors: Float32Array, offsets: Float32Array): void;
  /** For g = dL/d(x factors + offsets): toX += g factors, toFactors += sum over rows of g x, toOffsets += sum of g. */
  scaleAndShiftBackward(
    toX: Float32Array,
    gradient: Float32Array,
    x: Float32Array,
    factors: Float32Array,
    toFactors: Float32Array,
    toOffsets: Float32Array,
  ): void;
  /** target = max(0, x) */
  relu(target: Float32Array, x: Float32Array): void;
  /** toX += gradient where the result is positive. */
  reluBackward(toX: Float32Array, gradient: Float32Array, result: Float32Array): void;
  /**
   * Derivative of y = x s w, s = 1 / sqrt(mean(x^2) + epsilon), row by row, rows weight.length long:
   * toX += s g w - x s^3 mean(g w x); toWeight += sum over rows of g s x, for g = dL/dy.
   */
  rmsNormBackward(
    x: Float32Array,
    weight: Float32Array,
    gradient: Float32Array,
    toX: Float32Array,
    toWeight: Float32Array,
    epsilon: number,
  ): void;
  /**
   * Derivative of y = gate sigmoid(gate) up for g = dL/dy, in place: up becomes dL/dup = g gate sigmoid(gate), gate
   * becomes dL/dgate = g up sigmoid(gate) (1 + gate (1 - sigmoid(gate))).
   */
  siluMultiplyBackward(gate: Float32Array, up: Float32Array, gradient: Float32Array): void;
  /**
   * Derivative of a softmax by its inputs, row by row and in place: weights (unnormalised) become p = weights *
   * inverseSums, gradient g = dL/dp becomes dL/dscores = p (g - sum(p g)).
   */
  softmaxBackward(weights: Float32Array, gradient: Float32Array, columns: number, inverseSums: Float32Array): void;
  /** Rows to probabilities in place; logSums receives log(sum exp) of each. x is logSums.length rows long. */
  softmax(x: Float32Array, logSums: Float64Array): void;
}

/** Some of the columns of images. */
export interface ChannelRange {
  readonly first: number;
  readonly count: number;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export const plainTrainingKernels: TrainingKernels = {
  gatherPatches(windows, x, { first, count }, patches) {
    eachPlace(windows, imagesOf(windows, x), (output, place, input) => {
      const [to, from] = [output * patches.columns + place * count, input * x.columns + first];
      for (let c = 0; c < count; c++) patches.data[to + c] = x.data[from + c] as number;
    });
  },
  scatterPatches(windows, patches, { first, count }, x) {
    eachPlace(windows, imagesOf(windows, x), (output, place, input) => {
      const [from, to] = [output * patches.columns + place * count, input * x.columns + first];
      for (let c = 0; c < count; c++) x.data[to + c]! += patches.data[from + c] as number;
    });
  },
  scaleAndShift(target, x, factors, offsets) {
    for (let at = 0; at < x.length; ) {
      for (let j = 0; j < factors.length; j++, at++)
        target[at] = (x[at] as number) * (factors[j] as number) + (offsets[j] as number);
    }
  },
  scaleAndShiftBackward(toX, gradient, x, factors, toFactors, toOffsets) {
    for (let at = 0; at < x.length; ) {
      for (let j = 0; j < factors.length; j++, at++) {
        const g = gradient[at] as number;
        toX[at]! += g * (factors[j] as number);
        toFactors[j]! += g * (x[at] as number);
        toOffsets[j]! += g;
      }
    }
  },
  relu(target, x) {
    for (let i = 0; i < x.length; i++) target[i] = Math.max(0, x[i] as number);
  },
  reluBackward(toX, gradient, result) {
    for (let i = 0; i < result.length; i++) if ((result[i] as number) > 0) toX[i]! += gradient[i] as number;
  },
  rmsNormBackward(x, weight, gradient, toX, toWeight, epsilon) {
    const width = weight.length;
    for (let start = 0; start < x.length; start += width) {
      let [squares, products] = [0, 0];
      for (let j = 0; j < width; j++) {
        squares += (x[start + j] as number) ** 2;
        products += (gradient[start + j] as number) * (weight[j] as number) * (x[start + j] as number);
      }
      const scale = 1 / Math.sqrt(squares / width + epsilon);
      const along = (scale ** 3 * products) / width;
      for (let j = 0; j < width; j++) {
        const scaled = (gradient[start + j] as number) * scale;
        toX[start + j]! += scaled * (weight[j] as number) - (x[start + j] as number) * along;
        toWeight[j]! += scaled * (x[start + j] as number);
      }
    }
  },
  siluMultiplyBackward(gate, up, gradient) {
    for (let i = 0; i < gate.length; i++) {
      const [x, u, g] = [gate[i] as number, up[i] as number, gradient[i] as number];
      const s = sigmoid(x);
      up[i] = g * x * s;
      gate[i] = g * u * s * (1 + x * (1 - s));
    }
  },
  softmaxBackward(weights, gradient, columns, inverseSums) {
    for (let row = 0; row < inverseSums.length; row++) {
      const [begin, end] = [row * columns, (row + 1) * columns];
      let mean = 0;
      for (let i = begin; i < end; i++) {
        weights[i] = (weights[i] as number) * (inverseSums[row] as number);
        mean += (weights[i] as number) * (gradient[i] as number);
      }
      for (let i = begin; i < end; i++) gradient[i] = (weights[i] as number) * ((gradient[i] as number) - mean);
    }
  },
  softmax(x, logSums) {
    const columns = x.length / logSums.length;
    for (let row = 0; row < logSums.length; row++) {
      const values = x.subarray(row * columns, (row + 1) * columns);
      const maximum = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
      let sum = 0;
      for (let i = 0; i < columns; i++) {
        values[i] = Math.exp((values[i] as number) - maximum);
        sum += values[i] as number;
      }
      for (let i = 0; i < columns; i++) values[i] = (values[i] as number) / sum;
      logSums[row] = maximum + Math.log(sum);
    }
  },
};
