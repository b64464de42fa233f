import type { Matrix } from '../linalg/matrix.js';

/**
 * Splits every row of T in place: `kept` receives its `count` entries of largest magnitude, ties by position, and T
 * keeps the others. For rows too short for the histograms of {@link Compute.splitLargest}.
 */
export function keepLargestPerRow(t: Matrix, count: number, kept: Matrix): void {
  const { rows, columns, data } = t;
  const magnitudes = new Float32Array(columns);
  for (let row = 0; row < rows; row++) {
    const from = row * columns;
    for (let j = 0; j < columns; j++) magnitudes[j] = Math.abs(data[from + j]);
    const limit = count >= columns ? 0 : count <= 0 ? Number.POSITIVE_INFINITY : nthLargest(magnitudes, count);
    let ties = count;
    for (let j = 0; j < columns; j++) if (Math.abs(data[from + j]) > limit) ties--;
    for (let j = 0; j < columns; j++) {
      const value = data[from + j];
      const magnitude = Math.abs(value);
      const keep = magnitude > limit || (magnitude === limit && ties-- > 0);
      kept.data[from + j] = keep ? value : 0;
      if (keep) data[from + j] = 0;
    }
  }
}

/** The n-th largest entry (n from 1); reorders `x`. Hoare's selection. */
function nthLargest(x: Float32Array, n: number): number {
  const wanted = n - 1;
  let low = 0;
  let high = x.length - 1;
  while (low < high) {
    const pivot = x[(low + high) >> 1];
    let i = low;
    let j = high;
    while (i <= j) {
      while (x[i] > pivot) i++;
      while (x[j] < pivot) j--;
      if (i > j) break;
      const swapped = x[i];
      x[i++] = x[j];
      x[j--] = swapped;
    }
    if (wanted <= j) high = j;
    else if (wanted >= i) low = i;
    else break;
  }
  return x[wanted];
}
