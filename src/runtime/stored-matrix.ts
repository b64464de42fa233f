import { maskStride } from '../formats/container/bitmask.js';
import { bytesPerFloat, type WritableFloatType } from '../formats/dtype.js';

/** Types of stored values, in the order of their numbers in the kernels (kernels/lanes.ts). */
const typeNumbers: Readonly<Record<WritableFloatType, number>> = { BF16: 0, F16: 1, F32: 2 };

export function typeNumber(type: WritableFloatType): number {
  return typeNumbers[type];
}

interface Shape {
  readonly rows: number;
  readonly columns: number;
  readonly type: WritableFloatType;
  /** Byte address of the values in the runtime's memory. */
  readonly values: number;
}

/** Rows by columns values, row by row. */
export interface DenseMatrix extends Shape {
  readonly kind: 'dense';
}

/** As in the container: one bit an entry, and the values of the support row by row. */
export interface BitmaskMatrix extends Shape {
  readonly kind: 'bitmask';
  /** Address of rows x ceil(columns / 8) bytes. */
  readonly mask: number;
  /** Address of a u32 for each row: index of its first value, counted from `values`. */
  readonly starts: number;
}

/** 16-bit values with 16-bit column numbers, each row filled up to quads with zeros. */
export interface IndexedMatrix extends Shape {
  readonly kind: 'indexed';
  readonly indices: number;
  /** Address of rows + 1 u32: the first quad of each row. */
  readonly starts: number;
}

/** A matrix in the runtime's memory. Plain data: it goes to worker threads as it is. */
export type StoredMatrix = DenseMatrix | BitmaskMatrix | IndexedMatrix;

/** `count` rows from `first` on, without a copy. */
export function rowsOfStored(matrix: StoredMatrix, first: number, count: number): StoredMatrix {
  const { columns, type } = matrix;
  switch (matrix.kind) {
    case 'dense':
      return { ...matrix, rows: count, values: matrix.values + first * columns * bytesPerFloat(type) };
    case 'bitmask':
      return {
        ...matrix,
        rows: count,
        mask: matrix.mask + first * maskStride(columns),
        starts: matrix.starts + 4 * first,
      };
    case 'indexed':
      return { ...matrix, rows: count, starts: matrix.starts + 4 * first };
  }
}
