import { choleskyWithInverse, withDamping } from './cholesky.js';
import type { Compute } from './compute.js';
import type { Matrix } from './matrix.js';
import { symmetricEigen } from './symmetric-eigen.js';

export interface LeadingEigenvectors {
  /** n x rank: column i is the unit eigenvector of values[i]. Lives in the arena scope of the caller. */
  readonly vectors: Matrix;
  /** Descending. */
  readonly values: Float64Array;
}

/** Up to this size all eigenvectors are computed (seconds); above, a subspace is iterated. */
const defaultDirectLimit = 1024;
/** Columns of the subspace beyond the wanted ones: those at its edge converge last. */
const oversampling = 32;
/** After this many multiplications by C the energy outside is within a thousandth of the best for flat spectra. */
const iterations = 12;
/** Passes of Cholesky orthonormalisation: the first may need damping, the others remove what that left. */
const orthonormalizingPasses = 3;

/**
 * The `rank` leading eigenvectors of a symmetric positive semidefinite matrix C (n x n): all of them by
 * {@link symmetricEigen} up to `directLimit`, else by subspace iteration on gemm, finished by Rayleigh-Ritz (Golub & Van
 * Loan, Matrix Computations, section 8.2.4). Deterministic.
 */
export function leadingEigenvectors(
  c: Matrix,
  rank: number,
  compute: Compute,
  directLimit = defaultDirectLimit,
): LeadingEigenvectors {
  const n = c.rows;
  const width = Math.min(n, rank + oversampling);
  const vectors = compute.matrix(n, rank);
  if (n <= directLimit || width === n) {
    const eigen = symmetricEigen(n, c.data);
    const values = new Float64Array(rank);
    for (let r = 0; r < rank; r++) {
      const row = (n - 1 - r) * n;
      values[r] = eigen.values[n - 1 - r];
      for (let i = 0; i < n; i++) vectors.data[i * rank + r] = eigen.vectors[row + i];
    }
    return { vectors, values };
  }
  return compute.scope(() => {
    let basis = compute.matrix(n, width);
    let image = compute.matrix(n, width);
    fillWithNoise(basis.data);
    for (let iteration = 0; iteration < iterations; iteration++) {
      compute.gemm(c, basis, image);
      [basis, image] = [image, basis];
      orthonormalizeColumns(basis, compute);
    }
    compute.gemm(c, basis, image);
    const projected = compute.matrix(width, width);
    compute.gemm(basis, image, projected, { transposeA: true });
    const small = leadingEigenvectors(projected, rank, compute, width);
    compute.gemm(basis, small.vectors, vectors);
    return { vectors, values: small.values };
  });
}

/**
 * Makes the columns of Y (n x p, p <= n) orthonormal in place, keeping the spaces of the leading ones: repeated
 * Cholesky orthonormalisation Y <- Y L^-T, Y^T Y = L L^T. Zero columns stay zero.
 */
export function orthonormalizeColumns(y: Matrix, compute: Compute): void {
  const { rows: n, columns: p, data } = y;
  for (let pass = 0; pass < orthonormalizingPasses; pass++) {
    compute.scope(() => {
      const norms = new Float64Array(p);
      for (let i = 0; i < n; i++) for (let j = 0; j < p; j++) norms[j] += data[i * p + j] ** 2;
      const scales = Float32Array.from(norms, (square) => (square > 0 ? 1 / Math.sqrt(square) : 0));
      compute.kernels.scaleColumns(data, data, scales);
      const gram = compute.matrix(p, p);
      compute.syrk(y, gram, { transpose: true });
      for (let j = 0; j < p; j++) if (!(norms[j] > 0)) gram.data[j * p + j] = 1;
      const inverse = compute.matrix(p, p);
      withDamping(gram, compute, (damped) => {
        inverse.data.fill(0);
        return choleskyWithInverse(damped, inverse, compute) ? true : undefined;
      });
      const source = compute.matrix(n, p);
      source.data.set(data);
      compute.gemm(source, inverse, y, { transposeB: true });
    });
  }
}

/** A fixed pseudorandom start (a linear congruential generator): nothing of C is orthogonal to all of it. */
function fillWithNoise(x: Float32Array): void {
  let state = 1;
  for (let i = 0; i < x.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    x[i] = state / 2 ** 32 - 0.5;
  }
}
