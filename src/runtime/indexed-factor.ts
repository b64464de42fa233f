import { countBits, maskStride } from '../formats/container/bitmask.js';
import type { PackedFactor } from '../formats/container/packed-factor.js';

/** The most columns that 16-bit numbers count. */
export const maximumIndexedColumns = 65_536;

/** The arrays of an `IndexedMatrix`. */
export interface IndexedFactor {
  readonly values: Uint16Array;
  readonly indices: Uint16Array;
  readonly starts: Uint32Array;
}

/** A packed factor of 16-bit values with column numbers in place of the bitmask. */
export function indexFactor({ rows, columns, bitmask, values }: PackedFactor): IndexedFactor {
  const stride = maskStride(columns);
  const starts = new Uint32Array(rows + 1);
  for (let row = 0; row < rows; row++) {
    const bits = countBits(bitmask, row * stride, (row + 1) * stride);
    starts[row + 1] = (starts[row] as number) + Math.ceil(bits / 4);
  }
  const length = 4 * (starts[rows] as number);
  const target = { values: new Uint16Array(length), indices: new Uint16Array(length), starts };
  for (let row = 0, next = 0; row < rows; row++) {
    let at = 4 * (starts[row] as number);
    for (let byte = 0; byte < stride; byte++) {
      for (let bits = bitmask[row * stride + byte] as number; bits !== 0; bits &= bits - 1) {
        target.indices[at] = byte * 8 + 31 - Math.clz32(bits & -bits);
        target.values[at++] = (values[next] as number) | ((values[next + 1] as number) << 8);
        next += 2;
      }
    }
  }
  return target;
}
