import { countBits, maskStride } from '../formats/container/bitmask.js';
import type { PackedFactor } from '../formats/container/packed-factor.js';
import { indexFactor } from './indexed-factor.js';
import type { RuntimeMemory } from './runtime-memory.js';
import type { BitmaskMatrix, IndexedMatrix } from './stored-matrix.js';

/** Where the bytes of a sparse matrix go, so that a file can be read straight into them. */
export function reserveBitmask(
  memory: RuntimeMemory,
  { rows, columns, dtype }: Pick<PackedFactor, 'rows' | 'columns' | 'dtype'>,
  valueBytes: number,
): BitmaskMatrix {
  return {
    kind: 'bitmask',
    rows,
    columns,
    type: dtype,
    values: memory.allocate(valueBytes),
    mask: memory.allocate(rows * maskStride(columns)),
    starts: memory.allocate(4 * rows),
  };
}

/** Fills `starts` from the mask. Returns the number of bits. */
export function countRowStarts(memory: RuntimeMemory, { rows, columns, mask, starts }: BitmaskMatrix): number {
  const stride = maskStride(columns);
  const bytes = memory.bytes(mask, rows * stride);
  const target = memory.words(starts, rows);
  let total = 0;
  for (let row = 0; row < rows; row++) {
    target[row] = total;
    total += countBits(bytes, row * stride, (row + 1) * stride);
  }
  return total;
}

/** A copy of a packed factor in the runtime's memory, as it lies in the file. */
export function placeBitmask(memory: RuntimeMemory, factor: PackedFactor): BitmaskMatrix {
  const matrix = reserveBitmask(memory, factor, factor.values.byteLength);
  memory.bytes(matrix.values, factor.values.byteLength).set(factor.values);
  memory.bytes(matrix.mask, factor.bitmask.byteLength).set(factor.bitmask);
  countRowStarts(memory, matrix);
  return matrix;
}

/** A packed factor of 16-bit values in the runtime's memory, with column numbers. */
export function placeIndexed(memory: RuntimeMemory, factor: PackedFactor): IndexedMatrix {
  const { values, indices, starts } = indexFactor(factor);
  const place = (array: Uint8Array | Uint16Array | Uint32Array): number => {
    const address = memory.allocate(array.byteLength);
    memory.bytes(address, array.byteLength).set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    return address;
  };
  return {
    kind: 'indexed',
    rows: factor.rows,
    columns: factor.columns,
    type: factor.dtype,
    values: place(values),
    indices: place(indices),
    starts: place(starts),
  };
}
