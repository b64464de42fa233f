import { type Matrix, zeros } from '../../linalg/matrix.js';

/**
 * Most that the weights of a channel may grow by its target, next to those of the largest channel. A channel with hardly
 * any gain could make up for errors of a shortcut only by weights that no type holds.
 */
const largestGrowth = 16;

/**
 * The rows of a target that the model can make: zero where the gain is zero, since no weight is seen behind it, and the
 * channel's own weights where the gain is too small.
 * @param target W*, rows x columns. @param weight diag(gain) W.
 */
export function reachableRows(target: Matrix, weight: Matrix, gain: ArrayLike<number>): Matrix {
  const { rows, columns } = target;
  const normOf = ({ data }: Matrix, row: number): number => {
    let squares = 0;
    for (let at = row * columns; at < (row + 1) * columns; at++) squares += (data[at] as number) ** 2;
    return Math.sqrt(squares) / Math.abs(gain[row] as number);
  };
  let largest = 0;
  for (let row = 0; row < rows; row++) if (gain[row] !== 0) largest = Math.max(largest, normOf(weight, row));
  const result = zeros(rows, columns);
  for (let row = 0; row < rows; row++) {
    if (gain[row] === 0) continue;
    const { data } = normOf(target, row) <= largestGrowth * largest ? target : weight;
    result.data.set(data.subarray(row * columns, (row + 1) * columns), row * columns);
  }
  return result;
}
