import { readFileSync } from 'node:fs';
import type { Arena } from './arena.js';
import { type Kernels, plainKernels } from './kernels.js';

/** Everything that assembly/ exports; pointers are byte addresses in the arena's memory. */
export interface KernelExports {
  linearCombination(target: number, alpha: number, x: number, beta: number, y: number, n: number): void;
  multiply(target: number, x: number, y: number, n: number): void;
  restrict(target: number, x: number, support: number, n: number): void;
  dot(x: number, y: number, n: number): number;
  scaleRows(target: number, x: number, scale: number, rows: number, columns: number): void;
  scaleColumns(target: number, x: number, scale: number, rows: number, columns: number): void;
  addAndCount(x: number, y: number, n: number, bins: number): void;
  countMagnitudes(x: number, n: number, bins: number): void;
  countWithinBin(x: number, n: number, bin: number, bins: number): void;
  countWithinPrefix(x: number, n: number, prefix: number, bins: number): void;
  split(t: number, n: number, limit: number, ties: number, kept: number): void;
  subtractRows(target: number, length: number, rows: number, stride: number, count: number, coefficients: number): void;
  causalExponentials(
    scores: number,
    rows: number,
    columns: number,
    first: number,
    window: number,
    inverseSums: number,
  ): void;
  siluMultiply(gate: number, up: number, n: number): void;
  accumulateExponentials(logits: number, rows: number, columns: number, maxima: number, sums: number): void;
  rmsNorm(target: number, x: number, weight: number, rows: number, width: number, epsilon: number): void;
  rmsNormBackward(
    x: number,
    weight: number,
    gradient: number,
    toX: number,
    toWeight: number,
    rows: number,
    width: number,
    epsilon: number,
  ): void;
  siluMultiplyBackward(gate: number, up: number, gradient: number, n: number): void;
  softmaxBackward(weights: number, gradient: number, rows: number, columns: number, inverseSums: number): void;
  softmax(x: number, rows: number, columns: number, logSums: number): void;
  movePatches(
    image: number,
    patches: number,
    axes: number,
    images: number,
    columns: number,
    first: number,
    channels: number,
    scatter: boolean,
  ): void;
  scaleAndShift(target: number, x: number, factors: number, offsets: number, rows: number, columns: number): void;
  scaleAndShiftBackward(
    toX: number,
    gradient: number,
    x: number,
    factors: number,
    toFactors: number,
    toOffsets: number,
    rows: number,
    columns: number,
  ): void;
  relu(target: number, x: number, n: number): void;
  reluBackward(toX: number, gradient: number, result: number, n: number): void;
  multiplyPanels(
    a: number,
    b: number,
    c: number,
    inner: number,
    rowTiles: number,
    columnTiles: number,
    stride: number,
    accumulate: number,
  ): void;
}

let compiled: WebAssembly.Module | undefined;

/** An instance of the AssemblyScript kernels (assembly/) over the memory of an arena, or of a runtime. */
export function instantiateKernels({ memory }: Pick<Arena, 'memory'>): KernelExports {
  compiled ??= new WebAssembly.Module(readFileSync(new URL('./kernels.wasm', import.meta.url)));
  const instance = new WebAssembly.Instance(compiled, { env: { memory } });
  return instance.exports as unknown as KernelExports;
}

/** SIMD kernels for arrays of the arena; any other array goes to {@link plainKernels}. */
export function wasmKernels(arena: Arena): Kernels {
  const wasm = instantiateKernels(arena);
  const inside = (...arrays: (Float32Array | Float64Array | Uint32Array)[]): boolean =>
    arrays.every((array) => arena.owns(array));
  return {
    linearCombination(target, alpha, x, beta, y) {
      if (!inside(target, x, y)) return plainKernels.linearCombination(target, alpha, x, beta, y);
      wasm.linearCombination(target.byteOffset, alpha, x.byteOffset, beta, y.byteOffset, target.length);
    },
    multiply(target, x, y) {
      if (!inside(target, x, y)) return plainKernels.multiply(target, x, y);
      wasm.multiply(target.byteOffset, x.byteOffset, y.byteOffset, target.length);
    },
    restrict(target, x, support) {
      if (!inside(target, x, support)) return plainKernels.restrict(target, x, support);
      wasm.restrict(target.byteOffset, x.byteOffset, support.byteOffset, target.length);
    },
    dot(x, y) {
      if (!inside(x, y)) return plainKernels.dot(x, y);
      return wasm.dot(x.byteOffset, y.byteOffset, x.length);
    },
    scaleRows(target, x, scale) {
      if (!inside(target, x, scale)) return plainKernels.scaleRows(target, x, scale);
      wasm.scaleRows(target.byteOffset, x.byteOffset, scale.byteOffset, scale.length, x.length / scale.length);
    },
    scaleColumns(target, x, scale) {
      if (!inside(target, x, scale)) return plainKernels.scaleColumns(target, x, scale);
      wasm.scaleColumns(target.byteOffset, x.byteOffset, scale.byteOffset, x.length / scale.length, scale.length);
    },
    addAndCount(x, y, bins) {
      if (!inside(x, y, bins)) return plainKernels.addAndCount(x, y, bins);
      wasm.addAndCount(x.byteOffset, y.byteOffset, x.length, bins.byteOffset);
    },
    countMagnitudes(x, bins) {
      if (!inside(x, bins)) return plainKernels.countMagnitudes(x, bins);
      wasm.countMagnitudes(x.byteOffset, x.length, bins.byteOffset);
    },
    countWithinBin(x, bin, bins) {
      if (!inside(x, bins)) return plainKernels.countWithinBin(x, bin, bins);
      wasm.countWithinBin(x.byteOffset, x.length, bin, bins.byteOffset);
    },
    countWithinPrefix(x, prefix, bins) {
      if (!inside(x, bins)) return plainKernels.countWithinPrefix(x, prefix, bins);
      wasm.countWithinPrefix(x.byteOffset, x.length, prefix, bins.byteOffset);
    },
    split(t, limit, ties, kept) {
      if (!inside(t, kept)) return plainKernels.split(t, limit, ties, kept);
      wasm.split(t.byteOffset, t.length, limit, ties, kept.byteOffset);
    },
    subtractRows(target, rows, stride, count, coefficients) {
      if (!inside(target, rows, coefficients))
        return plainKernels.subtractRows(target, rows, stride, count, coefficients);
      wasm.subtractRows(target.byteOffset, target.length, rows.byteOffset, stride, count, coefficients.byteOffset);
    },
  };
}
