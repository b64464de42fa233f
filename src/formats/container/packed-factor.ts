import { DoubleSparseError } from '../../errors.js';
import type { Matrix } from '../../linalg/matrix.js';
import { bytesPerFloat, decodeFloats, encodeFloats, type WritableFloatType } from '../dtype.js';
import { overflow } from '../safetensors/writer.js';
import { countBits, maskStride } from './bitmask.js';

/** A sparse matrix as it lies in a container. */
export interface PackedFactor {
  readonly rows: number;
  readonly columns: number;
  readonly dtype: WritableFloatType;
  /** The entries of the support, row by row, little-endian. */
  readonly values: Uint8Array;
  /** rows x ceil(columns / 8) bytes: bit j mod 8 (least significant is 0) of byte j div 8 of a row is column j. */
  readonly bitmask: Uint8Array;
  /** Entries of the support that became zero in `dtype`; they stay in the support. */
  readonly vanished: number;
}

/**
 * Packs the nonzeros of a matrix. Rounds to nearest, ties to even.
 * @param name of the factor, for messages.
 * @throws DoubleSparseError `non-finite-value` for NaN, infinity, and values that are infinite in `dtype`.
 */
export function packFactor({ rows, columns, data }: Matrix, dtype: WritableFloatType, name = 'factor'): PackedFactor {
  const stride = maskStride(columns);
  const bitmask = new Uint8Array(rows * stride);
  let count = 0;
  for (let i = 0; i < data.length; i++) if (data[i] !== 0) count++;
  const support = new Float32Array(count);
  let next = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const value = data[row * columns + column] as number;
      if (value === 0) continue;
      if (!Number.isFinite(value)) {
        throw new DoubleSparseError('non-finite-value', `${name} holds ${value} at row ${row}, column ${column}`, {
          data: { name, row, column },
        });
      }
      support[next++] = value;
      const byte = row * stride + (column >> 3);
      bitmask[byte] = (bitmask[byte] as number) | (1 << (column & 7));
    }
  }
  const values = new Uint8Array(count * bytesPerFloat(dtype));
  const { overflowed, vanished } = encodeFloats(dtype, support, values);
  if (overflowed > 0) throw overflow(name, dtype, support);
  return { rows, columns, dtype, values, bitmask, vanished };
}

/**
 * The matrix of a packed factor.
 * @param target receives it; on the ordinary heap if absent. It is overwritten, zeros too.
 * @param name for messages.
 * @throws DoubleSparseError `file-malformed` when bitmask and values disagree (see {@link checkFactor}).
 */
export function unpackFactor(factor: PackedFactor, target?: Matrix, name = 'factor'): Matrix {
  checkFactor(factor, name);
  const { rows, columns, bitmask } = factor;
  const result = target ?? { rows, columns, data: new Float32Array(rows * columns) };
  if (target) target.data.fill(0);
  const values = decodeFloats(factor.dtype, factor.values);
  const stride = maskStride(columns);
  let next = 0;
  for (let row = 0; row < rows; row++) {
    for (let byte = 0; byte < stride; byte++) {
      for (let bits = bitmask[row * stride + byte] as number; bits !== 0; bits &= bits - 1) {
        const column = byte * 8 + 31 - Math.clz32(bits & -bits);
        result.data[row * columns + column] = values[next++] as number;
      }
    }
  }
  return result;
}

/**
 * Checks that sizes agree, that the bitmask has as many bits as there are values, and none beyond the last column.
 * @param bits of the bitmask, where they have been counted.
 * @throws DoubleSparseError `file-malformed`
 */
export function checkFactor(
  { rows, columns, dtype, values, bitmask }: PackedFactor,
  name = 'factor',
  bits = countBits(bitmask),
): void {
  const malformed = (problem: string): DoubleSparseError =>
    new DoubleSparseError('file-malformed', `${name}: ${problem}`, {
      data: { name, rows, columns },
      hint: 'the compressed model is damaged; make or download it again',
    });
  const stride = maskStride(columns);
  if (bitmask.byteLength !== rows * stride)
    throw malformed(`the bitmask of ${rows}x${columns} has ${bitmask.byteLength} bytes, not ${rows * stride}`);
  const count = values.byteLength / bytesPerFloat(dtype);
  if (bits !== count) throw malformed(`the bitmask has ${bits} bits, there are ${count} values`);
  const unused = (columns & 7) === 0 ? 0 : 0xff & (0xff << (columns & 7));
  if (unused === 0) return;
  for (let last = stride - 1; last < bitmask.byteLength; last += stride) {
    if (((bitmask[last] as number) & unused) !== 0) throw malformed(`the bitmask has bits beyond column ${columns}`);
  }
}
