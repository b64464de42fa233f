import { DoubleSparseError } from '../errors.js';

/** A dense row-major fp32 tensor: the last dimension is contiguous. */
export interface Tensor {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}

/** Entries of a tensor of these dimensions; 1 for none. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, size) => product * size, 1);
}

/**
 * Views `data` as a tensor, without a copy.
 * @throws DoubleSparseError `shape-mismatch` if the lengths disagree.
 */
export function tensor(dims: readonly number[], data: Float32Array): Tensor {
  if (data.length === elementCount(dims)) return { dims, data };
  throw new DoubleSparseError(
    'shape-mismatch',
    `a tensor of [${dims}] needs ${elementCount(dims)} values, got ${data.length}`,
    { data: { dims, length: data.length } },
  );
}
