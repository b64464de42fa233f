/**
 * The eigenvalues of a symmetric n x n matrix, ascending, by cyclic Jacobi rotations in float64: slow, short, and of no
 * common step with the methods under test.
 */
export function jacobiEigenvalues(n: number, entries: ArrayLike<number>): Float64Array {
  const a = Float64Array.from(entries);
  for (let sweep = 0; sweep < 60; sweep++) {
    let outside = 0;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const coupling = a[p * n + q];
        outside += coupling * coupling;
        if (coupling === 0) continue;
        const ratio = (a[q * n + q] - a[p * n + p]) / (2 * coupling);
        const t = (ratio >= 0 ? 1 : -1) / (Math.abs(ratio) + Math.hypot(ratio, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        const rotate = (i: number, j: number): void => {
          const [x, y] = [a[i], a[j]];
          a[i] = c * x - s * y;
          a[j] = s * x + c * y;
        };
        for (let k = 0; k < n; k++) rotate(k * n + p, k * n + q);
        for (let k = 0; k < n; k++) rotate(p * n + k, q * n + k);
      }
    }
    if (outside === 0 || !Number.isFinite(outside)) break;
  }
  return Float64Array.from({ length: n }, (_, i) => a[i * n + i]).sort();
}
