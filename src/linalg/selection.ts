import { binCount, type Kernels } from './kernels.js';

/**
 * The boundary of a selection of the n largest magnitudes: keep what is above `limit` (the bit pattern of an
 * fp32 magnitude) and the first `ties` entries equal to it. Exact: never one more or less, ties by position.
 */
export interface SelectionBoundary {
  readonly limit: number;
  readonly ties: number;
}

/** Finds the bin in which the `wanted` largest end; `above` counts the entries of higher bins. */
function locate(bins: Uint32Array, length: number, wanted: number): { bin: number; above: number } {
  let above = 0;
  let bin = length - 1;
  while (bin > 0 && above + (bins[bin] as number) < wanted) above += bins[bin--] as number;
  return { bin, above };
}

/**
 * The boundary of the `count` largest |x|, by radix selection on the bit pattern: 12 + 12 + 7 bits, where the first
 * 12 have been counted already into `bins` ({@link Kernels.countMagnitudes} or {@link Kernels.addAndCount}).
 */
export function selectionBoundary(
  kernels: Kernels,
  x: Float32Array,
  count: number,
  bins: Uint32Array,
): SelectionBoundary {
  if (count <= 0) return { limit: 0x7fffffff, ties: 0 };
  if (count >= x.length) return { limit: 0, ties: x.length };
  const first = locate(bins, binCount, count);
  kernels.countWithinBin(x, first.bin, bins);
  const second = locate(bins, binCount, count - first.above);
  const prefix = first.bin * binCount + second.bin;
  kernels.countWithinPrefix(x, prefix, bins);
  const third = locate(bins, 128, count - first.above - second.above);
  return { limit: prefix * 128 + third.bin, ties: count - first.above - second.above - third.above };
}
