import { DoubleSparseError } from '../errors.js';
import { elementCount } from '../linalg/element-count.js';

/** A dense row-major fp32 tensor: the last dimension is contiguous. */
export interface Tensor {
  readonly dims: readonly number[];
  readonly data: Float32Array;
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
