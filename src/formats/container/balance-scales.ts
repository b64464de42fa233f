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
  const columnSquares = new Float64Array(a.columns);
  for (let i = 0; i < a.data.length; i++) columnSquares[i % a.columns]! += (a.data[i] as number) ** 2;
  const scales = new Float64Array(a.columns);
  for (let k = 0; k < scales.length; k++) {
    const row = b.data.subarray(k * b.columns, (k + 1) * b.columns);
    const rowNorm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    scales[k] = 2 ** exponent(Math.sqrt(columnSquares[k] as number), rowNorm);
  }
  const scaledA = Float32Array.from(a.data, (value, i) => value / (scales[i % a.columns] as number));
  const scaledB = Float32Array.from(b.data, (value, i) => value * (scales[Math.floor(i / b.columns)] as number));
  return { a: { ...a, data: scaledA }, b: { ...b, data: scaledB } };
}

/** By which power of two to multiply the row of B and divide the column of A. */
function exponent(columnNorm: number, rowNorm: number): number {
  // One of them is zero or not finite: nothing to balance.
  if (!(columnNorm > 0 && rowNorm > 0 && Number.isFinite(columnNorm) && Number.isFinite(rowNorm))) return 0;
  return Math.min(Math.round(Math.log2(columnNorm / rowNorm) / 2), Math.floor(-Math.log2(rowNorm)));
}
