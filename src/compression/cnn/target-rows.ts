import { type Matrix, zeros } from '../../linalg/matrix.js';

/**
 * Most that the weights of a channel may grow by its target, next to those of the largest channel: half precision holds
 * 65504. A channel with hardly any gain could make up for errors of a shortcut only by weights that no type holds; one
 * behind layers that lost much of what they passed on may well need weights a hundred times its own.
 */
const largestGrowth = 1024;

/**
 * The rows of a target that the model can make: zero where the gain is zero, since no weight is seen behind it, and
 * where the gain is small only so far from the channel's own weights as the largest weights allow.
 * @param target W*, rows x columns. @param weight diag(gain) W.
 */
export function reachableRows(target: Matrix, weight: Matrix, gain: ArrayLike<number>): Matrix {
  const { rows, columns } = target;
  const normOf = (row: number, valueAt: (index: number) => number): number => {
    let squares = 0;
    for (let at = row * columns; at < (row + 1) * columns; at++) squares += valueAt(at) ** 2;
    return Math.sqrt(squares) / Math.abs(gain[row] as number);
  };
  const own = (at: number): number => weight.data[at] as number;
  const change = (at: number): number => (target.data[at] as number) - own(at);
  const norms = Array.from({ length: rows }, (_, row) => (gain[row] === 0 ? 0 : normOf(row, own)));
  const limit = largestGrowth * norms.reduce((largest, norm) => Math.max(largest, norm), 0);
  const result = zeros(rows, columns);
  for (let row = 0; row < rows; row++) {
    if (gain[row] === 0) continue;
    const [allowed, wanted] = [limit - (norms[row] as number), normOf(row, change)];
    for (let at = row * columns; at < (row + 1) * columns; at++)
      result.data[at] = wanted <= allowed ? (target.data[at] as number) : own(at) + (allowed / wanted) * change(at);
  }
  return result;
}
