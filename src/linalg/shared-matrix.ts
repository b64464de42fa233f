import type { Matrix } from './matrix.js';

/** Where zeros in memory that worker threads share come from. @param name of what they are for. */
export type SharedAllocation = (name: string, length: number) => Float32Array;

export const newShared: SharedAllocation = (_, length) => new Float32Array(new SharedArrayBuffer(4 * length));

/**
 * Hands out the memory of what had the same name before, which must not be in use any more: shared memory is given back
 * late, as every thread that saw it must have collected it.
 */
export function reusedShared(): SharedAllocation {
  const buffers = new Map<string, SharedArrayBuffer>();
  return (name, length) => {
    let buffer = buffers.get(name);
    if (!buffer || buffer.byteLength < 4 * length) {
      buffer = new SharedArrayBuffer(4 * length);
      buffers.set(name, buffer);
    }
    return new Float32Array(buffer, 0, length).fill(0);
  };
}

/** Zeros in memory that worker threads share: posting the matrix copies nothing. */
export function sharedZeros(rows: number, columns: number): Matrix {
  return { rows, columns, data: newShared('', rows * columns) };
}
