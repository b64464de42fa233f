import type { Compute } from '../linalg/compute.js';
import { type Matrix, rowsOf } from '../linalg/matrix.js';

/**
 * Writes the product of factors (A, or A and B) into weights that are its rows, in order.
 * @param targets out_i x in; together as many rows as A.
 */
export function multiplyProduct([a, b]: readonly Matrix[], targets: readonly Matrix[], compute: Compute): void {
  let row = 0;
  for (const target of targets) {
    const part = rowsOf(a as Matrix, row, target.rows);
    row += target.rows;
    if (b) compute.gemm(part, b, target);
    else target.data.set(part.data);
  }
}
