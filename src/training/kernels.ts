/**
 * Elementwise passes of the backward pass; everything else is matrix products. The plain loops here are the oracle and
 * serve arrays anywhere; SIMD kernels over the arena (wasm-kernels.ts) take their place behind the same interface.
 */
export interface TrainingKernels {
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

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export const plainTrainingKernels: TrainingKernels = {
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
