import { DoubleSparseError } from '../errors.js';
import { PlaneRotations } from './plane-rotations.js';

export interface SymmetricEigen {
  /** The n eigenvalues, ascending. */
  readonly values: Float64Array;
  /** n x n, row-major: row i is the unit eigenvector of values[i]. */
  readonly vectors: Float64Array;
}

/** Sweeps allowed for one eigenvalue. Two are usual; only entries that are not numbers need more than a dozen. */
const maximumSweeps = 60;
/** A column this small beside the largest entry is zero: rounding is 1e-16, and reflections need normal numbers. */
const negligibleColumn = 1e-60;
/** Below this, squares fall under the smallest normal number. */
const squareLossBound = 1e-150;

/**
 * All eigenvalues and eigenvectors of a symmetric matrix in float64: Householder reduction to tridiagonal form, then
 * implicitly shifted QL (Golub & Van Loan, Matrix Computations, sections 8.3.1 and 8.3.3). About 9 n^3 operations on
 * plain typed arrays: a second for n = 576, a quarter of a minute for n = 1536.
 * @param size n.
 * @param entries n x n, row-major; only the lower triangle is read. Not changed.
 * @throws DoubleSparseError `non-finite-value`
 */
export function symmetricEigen(size: number, entries: Float32Array | Float64Array): SymmetricEigen {
  const n = size;
  const work = Float64Array.from(entries);
  let largest = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      largest = Math.max(largest, Math.abs(work[i * n + j]));
      if (Number.isFinite(work[i * n + j])) continue;
      throw new DoubleSparseError('non-finite-value', `entry (${i}, ${j}) of a ${n}x${n} matrix is not finite`, {
        data: { row: i, column: j, size: n },
      });
    }
  }
  const diagonal = new Float64Array(n);
  const offDiagonal = new Float64Array(n);
  const scales = new Float64Array(n);
  reduceToTridiagonal(work, n, largest * negligibleColumn, diagonal, offDiagonal, scales);
  const basis = accumulateReflections(work, n, scales);
  diagonalize(diagonal, offDiagonal, basis, n);
  return ascending(diagonal, basis, n);
}

/**
 * Q^T A Q = T with Q = H_0 H_1 ... H_(n-3), H_k = I - scale_k v_k v_k^T. The lower triangle of `a` is consumed; v_k is
 * left in the upper one, right of the diagonal of row k. `offDiagonal[k]` couples k and k + 1.
 */
function reduceToTridiagonal(
  a: Float64Array,
  n: number,
  negligible: number,
  diagonal: Float64Array,
  offDiagonal: Float64Array,
  scales: Float64Array,
): void {
  const product = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    diagonal[k] = a[k * n + k];
    if (k === n - 1) break;
    const first = k + 1;
    const v = a.subarray(k * n, (k + 1) * n);
    let largest = 0;
    for (let i = first; i < n; i++) {
      v[i] = a[i * n + k];
      largest = Math.max(largest, Math.abs(v[i]));
    }
    if (largest <= negligible) continue;
    let below = 0;
    for (let i = first + 1; i < n; i++) below += (v[i] / largest) ** 2;
    if (below === 0) {
      offDiagonal[k] = v[first];
      continue;
    }
    const norm = largest * Math.sqrt(below + (v[first] / largest) ** 2);
    // The sign that does not cancel.
    const image = v[first] > 0 ? -norm : norm;
    const pivot = v[first] - image;
    offDiagonal[k] = image;
    v[first] = 1;
    for (let i = first + 1; i < n; i++) v[i] /= pivot;
    const scale = -pivot / image;
    scales[k] = scale;

    // product = scale * A v, from the lower triangle alone.
    product.fill(0, first);
    for (let i = first; i < n; i++) {
      const row = i * n;
      const vi = v[i];
      let sum = 0;
      for (let j = first; j < i; j++) {
        const value = a[row + j];
        sum += value * v[j];
        product[j] += value * vi;
      }
      product[i] += sum + a[row + i] * vi;
    }
    let overlap = 0;
    for (let i = first; i < n; i++) overlap += product[i] * v[i];
    const half = (scale * scale * overlap) / 2;
    for (let i = first; i < n; i++) product[i] = scale * product[i] - half * v[i];
    // A -= v w^T + w v^T
    for (let i = first; i < n; i++) {
      const row = i * n;
      const vi = v[i];
      const wi = product[i];
      for (let j = first; j <= i; j++) a[row + j] -= vi * product[j] + wi * v[j];
    }
  }
}

/** Q, n x n row-major, from the vectors that {@link reduceToTridiagonal} left in `a`. */
function accumulateReflections(a: Float64Array, n: number, scales: Float64Array): Float64Array {
  // Q^T grows from its last corner: right multiplications touch whole contiguous rows.
  const transposed = new Float64Array(n * n);
  for (let i = 0; i < n; i++) transposed[i * n + i] = 1;
  for (let k = n - 2; k >= 0; k--) {
    if (scales[k] === 0) continue;
    const v = a.subarray(k * n, (k + 1) * n);
    for (let i = k + 1; i < n; i++) {
      const row = i * n;
      let sum = 0;
      for (let j = k + 1; j < n; j++) sum += transposed[row + j] * v[j];
      sum *= scales[k];
      for (let j = k + 1; j < n; j++) transposed[row + j] -= sum * v[j];
    }
  }
  const result = a;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) result[j * n + i] = transposed[i * n + j];
  }
  return result;
}

/** Implicit QL with Wilkinson's shift: `diagonal` becomes the eigenvalues, column i of `basis` the i-th eigenvector. */
function diagonalize(diagonal: Float64Array, offDiagonal: Float64Array, basis: Float64Array, n: number): void {
  const rotations = new PlaneRotations(basis, n);
  const d = diagonal;
  const e = offDiagonal;
  if (n > 0) e[n - 1] = 0;
  let norm = 0;
  for (let i = 0; i < n; i++) norm = Math.max(norm, Math.abs(d[i]) + Math.abs(e[i]));
  // Absolute, as the rounding of each sweep is: among eigenvalues that are noise a relative test would never pass.
  const negligible = Number.EPSILON * norm;
  for (let low = 0; low < n; low++) {
    for (let sweep = 0; ; sweep++) {
      let high = low;
      while (high < n - 1 && Math.abs(e[high]) > negligible) high++;
      if (high === low) break;
      if (sweep === maximumSweeps) {
        throw new DoubleSparseError('non-finite-value', `eigenvalue ${low} of a ${n}x${n} matrix did not converge`, {
          data: { index: low, size: n },
          hint: 'the entries differ by too many orders of magnitude for float64',
        });
      }
      const ratio = (d[low + 1] - d[low]) / (2 * e[low]);
      const radius = Math.hypot(ratio, 1);
      let g = d[high] - d[low] + e[low] / (ratio + (ratio >= 0 ? radius : -radius));
      let s = 1;
      let c = 1;
      let p = 0;
      let i = high - 1;
      rotations.start(high, high - low);
      for (; i >= low; i--) {
        const f = s * e[i];
        const b = c * e[i];
        let r = Math.sqrt(f * f + g * g);
        // The squares of very small numbers lose their digits first, and the rotation its orthogonality with them.
        if (r < squareLossBound) r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          // Underflow: the matrix has split here.
          d[i + 1] -= p;
          e[high] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        const t = (d[i] - g) * s + 2 * c * b;
        p = s * t;
        d[i + 1] = g + p;
        g = c * t - b;
        rotations.push(c, s);
      }
      if (i >= low) continue;
      d[low] -= p;
      e[low] = g;
      e[high] = 0;
    }
  }
  rotations.flush();
}

function ascending(values: Float64Array, basis: Float64Array, n: number): SymmetricEigen {
  const order = Array.from(values.keys()).sort((a, b) => values[a] - values[b] || a - b);
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (const [target, source] of order.entries()) vectors[target * n + i] = basis[i * n + source];
  }
  return { values: Float64Array.from(order, (index) => values[index]), vectors };
}
