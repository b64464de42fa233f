/**
 * Elementwise passes of the solvers. Two implementations with one interface: {@link plainKernels}, the oracle, for
 * arrays anywhere; and WebAssembly SIMD over the arena's memory ({@link wasmKernels} in wasm-kernels.ts).
 */
export interface Kernels {
  /** target = alpha * x + beta * y */
  linearCombination(target: Float32Array, alpha: number, x: Float32Array, beta: number, y: Float32Array): void;
  /** target = x * y, entry by entry */
  multiply(target: Float32Array, x: Float32Array, y: Float32Array): void;
  /** target = x where support is not zero, else 0 */
  restrict(target: Float32Array, x: Float32Array, support: Float32Array): void;
  /** Sum of x * y in float64. */
  dot(x: Float32Array, y: Float32Array): number;
  /** target[i, j] = x[i, j] * scale[i]; x is scale.length rows long. */
  scaleRows(target: Float32Array, x: Float32Array, scale: Float32Array): void;
  /** target[i, j] = x[i, j] * scale[j]; x is scale.length columns wide. */
  scaleColumns(target: Float32Array, x: Float32Array, scale: Float32Array): void;
  /** x += y, then the counts of {@link countMagnitudes}. One pass. */
  addAndCount(x: Float32Array, y: Float32Array, bins: Uint32Array): void;
  /** bins[b] = number of entries whose |x| has the upper 12 bits b (exponent and four bits of mantissa). */
  countMagnitudes(x: Float32Array, bins: Uint32Array): void;
  /** bins[b] = number of entries with upper 12 bits `bin` whose next 12 bits are b. */
  countWithinBin(x: Float32Array, bin: number, bins: Uint32Array): void;
  /** bins[b] = number of entries with upper 24 bits `prefix` whose last 7 bits are b. */
  countWithinPrefix(x: Float32Array, prefix: number, bins: Uint32Array): void;
  /**
   * kept = t where the bits of |t| exceed `limit`, or are among the first `ties` equal to it, else 0;
   * t -= kept.
   */
  split(t: Float32Array, limit: number, ties: number, kept: Float32Array): void;
  /** target[j] -= sum over k < count of coefficients[k] * rows[k * stride + j], in float64. */
  subtractRows(
    target: Float64Array,
    rows: Float64Array,
    stride: number,
    count: number,
    coefficients: Float64Array,
  ): void;
}

/** Counts in each of four interleaved histograms of one {@link Kernels.countMagnitudes}. */
export const binCount = 4096;
/** Length of the `bins` scratch array: one histogram for each SIMD lane. The first holds the result. */
export const binScratchLength = 4 * binCount;

const asBits = (x: Float32Array): Uint32Array => new Uint32Array(x.buffer, x.byteOffset, x.length);

export const plainKernels: Kernels = {
  linearCombination(target, alpha, x, beta, y) {
    // Rounded after each operation, like the SIMD twin.
    const [a, b] = [Math.fround(alpha), Math.fround(beta)];
    for (let i = 0; i < target.length; i++) {
      target[i] = Math.fround(a * (x[i] as number)) + Math.fround(b * (y[i] as number));
    }
  },
  multiply(target, x, y) {
    for (let i = 0; i < target.length; i++) target[i] = (x[i] as number) * (y[i] as number);
  },
  restrict(target, x, support) {
    for (let i = 0; i < target.length; i++) target[i] = support[i] === 0 ? 0 : (x[i] as number);
  },
  dot(x, y) {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += (x[i] as number) * (y[i] as number);
    return sum;
  },
  scaleRows(target, x, scale) {
    const columns = x.length / scale.length;
    for (let i = 0; i < scale.length; i++) {
      const s = scale[i] as number;
      for (let p = i * columns; p < (i + 1) * columns; p++) target[p] = (x[p] as number) * s;
    }
  },
  scaleColumns(target, x, scale) {
    for (let p = 0; p < x.length; ) {
      for (let j = 0; j < scale.length; j++, p++) target[p] = (x[p] as number) * (scale[j] as number);
    }
  },
  addAndCount(x, y, bins) {
    for (let i = 0; i < x.length; i++) x[i] = (x[i] as number) + (y[i] as number);
    plainKernels.countMagnitudes(x, bins);
  },
  countMagnitudes(x, bins) {
    bins.fill(0, 0, binCount);
    const bits = asBits(x);
    for (let i = 0; i < bits.length; i++) {
      const bin = ((bits[i] as number) & 0x7fffffff) >>> 19;
      bins[bin] = (bins[bin] as number) + 1;
    }
  },
  countWithinBin(x, bin, bins) {
    bins.fill(0, 0, binCount);
    const bits = asBits(x);
    for (let i = 0; i < bits.length; i++) {
      const value = (bits[i] as number) & 0x7fffffff;
      if (value >>> 19 !== bin) continue;
      const at = (value & 0x7ffff) >>> 7;
      bins[at] = (bins[at] as number) + 1;
    }
  },
  countWithinPrefix(x, prefix, bins) {
    bins.fill(0, 0, 128);
    const bits = asBits(x);
    for (let i = 0; i < bits.length; i++) {
      const value = (bits[i] as number) & 0x7fffffff;
      if (value >>> 7 !== prefix) continue;
      const at = value & 0x7f;
      bins[at] = (bins[at] as number) + 1;
    }
  },
  split(t, limit, ties, kept) {
    const bits = asBits(t);
    let left = ties;
    for (let i = 0; i < t.length; i++) {
      const value = (bits[i] as number) & 0x7fffffff;
      const keep = value > limit || (value === limit && left-- > 0);
      kept[i] = keep ? (t[i] as number) : 0;
      if (keep) t[i] = 0;
    }
  },
  subtractRows(target, rows, stride, count, coefficients) {
    for (let k = 0; k < count; k++) {
      for (let j = 0; j < target.length; j++) {
        target[j] = (target[j] as number) - (coefficients[k] as number) * (rows[k * stride + j] as number);
      }
    }
  },
};
