/**
 * Elementwise passes of the forward pass; everything else is matrix products. The plain loops here take arrays
 * anywhere; SIMD kernels over the arena can take their place behind the same interface.
 */
export interface LlamaKernels {
  /**
   * target = x / sqrt(mean(x^2) + epsilon) * weight, row by row (Zhang & Sennrich 2019, arXiv 1910.07467), the sum in
   * float64. Rows are weight.length long. target may be x.
   */
  rmsNorm(target: Float32Array, x: Float32Array, weight: Float32Array, epsilon: number): void;
  /**
   * Rotary embedding in place (Su et al. 2021, arXiv 2104.09864; channel i pairs with i + headSize / 2 as in
   * transformers). x: positions x (heads * headSize); cosines, sines: at least positions x headSize / 2.
   */
  rotate(x: Float32Array, heads: number, headSize: number, cosines: Float32Array, sines: Float32Array): void;
  /**
   * Rows of attention scores to unnormalised weights: exp(score - maximum of the row) where visible, else 0.
   * @param scores rows x columns, in place.
   * @param first columns visible up to its own position in row 0; each row sees one more than the row before.
   * @param window how many of these are visible, counted from the right (Infinity: all).
   * @param inverseSums receives 1 / (sum of the weights) of each row.
   */
  causalExponentials(
    scores: Float32Array,
    rows: number,
    columns: number,
    first: number,
    window: number,
    inverseSums: Float32Array,
  ): void;
  /** gate = gate / (1 + exp(-gate)) * up (SwiGLU without its matrices, Shazeer 2020, arXiv 2002.05202). */
  siluMultiply(gate: Float32Array, up: Float32Array): void;
  /**
   * Takes a slice of logits (rows x columns) into running maxima and sums of exponentials: at the end
   * log(sum exp(logits)) = maximum + log(sum). Start with maxima -Infinity, sums 0.
   */
  accumulateExponentials(logits: Float32Array, columns: number, maxima: Float64Array, sums: Float64Array): void;
}

// exp(-t) = 2^(-k / steps) * exp(rest): a table for k, two terms for the rest, 9e-8 relative error. Five times as
// fast as Math.exp.
const steps = 64;
/** Below 2^-126 everything is taken for zero: denormals cost time and change nothing. */
const tableLength = 126 * steps;
const powers = Float64Array.from({ length: tableLength }, (_, k) => 2 ** (-k / steps));
const toSteps = Math.LOG2E * steps;
const linear = Math.LN2 / steps;
const quadratic = linear ** 2 / 2;

/** exp(-t) for t >= 0; NaN for NaN. */
function decay(t: number): number {
  const y = t * toSteps;
  const k = (y + 0.5) | 0;
  const rest = k - y;
  // `!(y >= ...)` lets NaN through to the formula, where index 0 times NaN keeps it.
  return !(y >= tableLength - 1) ? (powers[k] as number) * (1 + rest * (linear + rest * quadratic)) : 0;
}

export const plainLlamaKernels: LlamaKernels = {
  rmsNorm(target, x, weight, epsilon) {
    const width = weight.length;
    for (let start = 0; start < x.length; start += width) {
      let sum = 0;
      for (let i = start; i < start + width; i++) sum += (x[i] as number) * (x[i] as number);
      const scale = 1 / Math.sqrt(sum / width + epsilon);
      for (let j = 0; j < width; j++) target[start + j] = (x[start + j] as number) * scale * (weight[j] as number);
    }
  },
  rotate(x, heads, headSize, cosines, sines) {
    const half = headSize / 2;
    for (let start = 0, angle = 0; start < x.length; angle += half) {
      for (let head = 0; head < heads; head++, start += headSize) {
        for (let i = 0; i < half; i++) {
          const cosine = cosines[angle + i] as number;
          const sine = sines[angle + i] as number;
          const a = x[start + i] as number;
          const b = x[start + half + i] as number;
          x[start + i] = a * cosine - b * sine;
          x[start + half + i] = b * cosine + a * sine;
        }
      }
    }
  },
  causalExponentials(scores, rows, columns, first, window, inverseSums) {
    for (let row = 0; row < rows; row++) {
      const base = row * columns;
      const begin = base + Math.max(0, first + row - window);
      const end = base + first + row;
      let maximum = Number.NEGATIVE_INFINITY;
      for (let i = begin; i < end; i++) if ((scores[i] as number) > maximum) maximum = scores[i] as number;
      let sum = 0;
      for (let i = begin; i < end; i++) {
        const value = decay(maximum - (scores[i] as number));
        scores[i] = value;
        sum += value;
      }
      scores.fill(0, base, begin);
      scores.fill(0, end, base + columns);
      inverseSums[row] = 1 / sum;
    }
  },
  siluMultiply(gate, up) {
    for (let i = 0; i < gate.length; i++) {
      const x = gate[i] as number;
      const magnitude = Math.abs(x);
      const e = decay(magnitude);
      // Half the signs are mispredicted in `x >= 0 ? x : x * e`, which doubles the time.
      gate[i] = ((0.5 * (x + magnitude + (x - magnitude) * e)) / (1 + e)) * (up[i] as number);
    }
  },
  accumulateExponentials(logits, columns, maxima, sums) {
    for (let row = 0; row < maxima.length; row++) {
      const begin = row * columns;
      const before = maxima[row] as number;
      let maximum = before;
      for (let i = begin; i < begin + columns; i++) {
        if ((logits[i] as number) > maximum) maximum = logits[i] as number;
      }
      let sum = before === maximum ? (sums[row] as number) : (sums[row] as number) * decay(maximum - before);
      for (let i = begin; i < begin + columns; i++) sum += decay(maximum - (logits[i] as number));
      maxima[row] = maximum;
      sums[row] = sum;
    }
  },
};
