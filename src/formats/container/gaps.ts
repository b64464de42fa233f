import { DoubleSparseError } from '../../errors.js';
import { maskStride } from './bitmask.js';

/** A nibble of this value passes over as many positions, none of them in the support. */
const skip = 15;

/**
 * Bytes of {@link encodeGaps} for the support of a matrix.
 * @param data row-major; what is not zero is in the support.
 */
export function gapBytes(data: ArrayLike<number>): number {
  let nibbles = 0;
  let gap = 0;
  for (let i = 0; i < data.length; i++) {
    if (data[i] === 0) gap++;
    else {
      nibbles += Math.floor(gap / skip) + 1;
      gap = 0;
    }
  }
  return Math.ceil((nibbles + Math.floor(gap / skip)) / 2);
}

/** Most positions that so many bytes of gaps can speak of. */
export function positionsWithin(bytes: number): number {
  return 2 * bytes * skip + skip - 1;
}

/**
 * The support of a matrix as gaps (docs/container.md): for every entry of the support, in row-major order over the
 * whole matrix, the number of positions since the one before, as nibbles, the lower one of a byte first.
 * @param bitmask rows x ceil(columns / 8) bytes.
 * @param bytes that they take, see {@link gapBytes}.
 */
export function encodeGaps(bitmask: Uint8Array, rows: number, columns: number, bytes: number): Uint8Array {
  const stride = maskStride(columns);
  // Skips everywhere: only what differs is written.
  const result = new Uint8Array(bytes).fill((skip << 4) | skip);
  let nibble = 0;
  let previous = -1;
  for (let row = 0; row < rows; row++) {
    for (let byte = 0; byte < stride; byte++) {
      for (let bits = bitmask[row * stride + byte] as number; bits !== 0; bits &= bits - 1) {
        const position = row * columns + byte * 8 + 31 - Math.clz32(bits & -bits);
        const gap = position - previous - 1;
        nibble += Math.floor(gap / skip);
        const shift = 4 * (nibble & 1);
        const at = nibble++ >> 1;
        result[at] = ((result[at] as number) & ~(skip << shift)) | ((gap % skip) << shift);
        previous = position;
      }
    }
  }
  return result;
}

/**
 * The bitmask of {@link encodeGaps}.
 * @param count entries of the support.
 * @param name for messages.
 * @throws DoubleSparseError `file-malformed` when the gaps do not describe `count` entries of such a matrix.
 */
export function decodeGaps(gaps: Uint8Array, rows: number, columns: number, count: number, name: string): Uint8Array {
  const malformed = (problem: string): DoubleSparseError =>
    new DoubleSparseError('file-malformed', `${name}: ${problem}`, {
      data: { name, rows, columns, count },
      hint: 'the compressed model is damaged; make or download it again',
    });
  const stride = maskStride(columns);
  const total = rows * columns;
  if (total > positionsWithin(gaps.byteLength))
    throw malformed(`${gaps.byteLength} bytes of gaps cannot describe ${rows}x${columns}`);
  const bitmask = new Uint8Array(rows * stride);
  let [row, column, found, position] = [0, 0, 0, 0];
  const advance = (by: number): void => {
    position += by;
    column += by;
    while (column >= columns) {
      column -= columns;
      row++;
    }
  };
  const nibbles = 2 * gaps.byteLength;
  for (let i = 0; i < nibbles; i++) {
    const byte = gaps[i >> 1] as number;
    const nibble = (i & 1) === 0 ? byte & 15 : byte >> 4;
    // An odd number of nibbles is filled up with one that passes beyond the end.
    if (nibble === skip && i === nibbles - 1 && total - position < skip) break;
    const room = nibble === skip ? total : total - 1;
    if (position + nibble > room) throw malformed(`the gaps lead beyond the last of ${total} positions`);
    advance(nibble);
    if (nibble === skip) continue;
    const at = row * stride + (column >> 3);
    bitmask[at] = (bitmask[at] as number) | (1 << (column & 7));
    found++;
    advance(1);
  }
  if (found !== count) throw malformed(`the gaps have ${found} entries, there are ${count} values`);
  if (total - position >= skip) throw malformed(`the gaps end at ${position} of ${total} positions`);
  return bitmask;
}
