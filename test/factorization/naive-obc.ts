import { type Matrix, zeros } from '../../src/linalg/matrix.js';

/** H^-1 in float64, by Gauss-Jordan elimination with the largest pivot of each column. */
function invert(gram: Matrix): number[][] {
  const n = gram.rows;
  const work = Array.from({ length: n }, (_, i) =>
    Array.from({ length: 2 * n }, (_, j) => (j < n ? gram.data[i * n + j] : j - n === i ? 1 : 0)),
  );
  for (let p = 0; p < n; p++) {
    const best = work.slice(p).reduce((at, row, i) => (Math.abs(row[p]) > Math.abs(work[at][p]) ? i + p : at), p);
    [work[p], work[best]] = [work[best], work[p]];
    const pivotRow = work[p].map((value) => value / work[p][p]);
    work[p] = pivotRow;
    for (let i = 0; i < n; i++) {
      if (i === p) continue;
      const factor = work[i][p];
      work[i] = work[i].map((value, j) => value - factor * pivotRow[j]);
    }
  }
  return work.map((row) => row.slice(n));
}

/**
 * Optimal Brain Compression as the paper writes it (arXiv 2208.11580, Algorithms 1 and 2), in float64 with explicit
 * downdates of each row's inverse: always the row whose next removal costs least.
 */
export function naiveObc(weight: Matrix, gram: Matrix, removals: number): Matrix {
  const n = weight.columns;
  const inverse = invert(gram);
  const rows = Array.from({ length: weight.rows }, (_, i) => ({
    w: Array.from(weight.data.subarray(i * n, (i + 1) * n)),
    inverse: inverse.map((row) => row.slice()),
    left: Array.from({ length: n }, (_, j) => j),
  }));
  const next = ({ w, inverse, left }: (typeof rows)[number]) =>
    left
      .map((j) => ({ j, loss: w[j] ** 2 / inverse[j][j] }))
      .reduce((a, b) => (b.loss < a.loss ? b : a), { j: -1, loss: Number.POSITIVE_INFINITY });
  for (let removal = 0; removal < removals; removal++) {
    const [row, choice] = rows
      .map((candidate) => [candidate, next(candidate)] as const)
      .reduce((a, b) => (b[1].loss < a[1].loss ? b : a));
    const p = choice.j;
    const column = row.inverse.map((entries) => entries[p]);
    const pivot = column[p];
    const step = row.w[p] / pivot;
    row.left = row.left.filter((j) => j !== p);
    row.w = row.w.map((value, j) => (row.left.includes(j) ? value - step * column[j] : 0));
    row.inverse = row.inverse.map((entries, i) => entries.map((value, j) => value - (column[i] * column[j]) / pivot));
  }
  const result = zeros(weight.rows, n);
  result.data.set(rows.flatMap(({ w }) => w));
  return result;
}
