import { DoubleSparseError } from '../../errors.js';
import type { Matrix } from '../../linalg/matrix.js';

/**
 * Rescales the inner dimension of A·B so that B x stays in range in fp16: column k of A and row k of B come to norms
 * within a factor of 2 of each other, and the row of B to a norm of at most 1, so |B x| is at most |x| in every entry.
 * Powers of two only: the product stays the same to the last bit (short of the limits of fp32).
 * @param a m x k. @param b k x n.
 * @returns copies on the ordinary heap.
 * @throws DoubleSparseError `shape-mismatch`
 */
export function balanceScales(a: Matrix, b: Matrix): { a: Matrix; b: Matrix } {
  if (a.columns !== b.rows) {
    throw new DoubleSparseError('shape-mismatch', `${a.rows}x${a.columns} times ${b.rows}x${b.columns} is no product`, {
      data: { columns: a.columns, rows: b.rows },
    });
  }
  const inner = a.columns;
  const columnSquares = new Float64Array(inner);
  for (let row = 0; row < a.rows; row++) {
    const start = row * inner;
    for (let k = 0; k < inner; k++) columnSquares[k]! += (a.data[start + k] as number) ** 2;
  }
  const scales = new Float64Array(inner);
  for (let k = 0; k < inner; k++) {
    let rowSquares = 0;
    for (let i = k * b.columns; i < (k + 1) * b.columns; i++) rowSquares += (b.data[i] as number) ** 2;
    scales[k] = 2 ** exponent(Math.sqrt(columnSquares[k] as number), Math.sqrt(rowSquares));
  }
  const scaledA = new Float32Array(a.data.length);
  for (let row = 0; row < a.rows; row++) {
    const start = row * inner;
    for (let k = 0; k < inner; k++) scaledA[start + k] = (a.data[start + k] as number) / (scales[k] as number);
  }
  const scaledB = new Float32Array(b.data.length);
  for (let k = 0; k < inner; k++) {
    const scale = scales[k] as number;
    for (let i = k * b.columns; i < (k + 1) * b.columns; i++) scaledB[i] = (b.data[i] as number) * scale;
  }
  return { a: { ...a, data: scaledA }, b: { ...b, data: scaledB } };
}

/** By which power of two to multiply the row of B and divide the column of A. */
function exponent(columnNorm: number, rowNorm: number): number {
  // One of them is zero or not finite: nothing to balance.
  if (!(columnNorm > 0 && rowNorm > 0 && Number.isFinite(columnNorm) && Number.isFinite(rowNorm))) return 0;
  return Math.min(Math.round(Math.log2(columnNorm / rowNorm) / 2), Math.floor(-Math.log2(rowNorm)));
}
