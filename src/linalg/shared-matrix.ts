import type { Matrix } from './matrix.js';

/** Zeros in memory that worker threads share: posting the matrix copies nothing. */
export function sharedZeros(rows: number, columns: number): Matrix {
  return { rows, columns, data: new Float32Array(new SharedArrayBuffer(rows * columns * 4)) };
}
