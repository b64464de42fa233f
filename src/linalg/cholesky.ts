import { DoubleSparseError } from '../errors.js';
import type { Compute } from './compute.js';
import { blockOf } from './engine.js';
import type { Matrix } from './matrix.js';

/** Up to this size the plain loops in float64 are no slower than calls of gemm. */
const leafSize = 40;
/** Rows of the strips in which N^T N skips the zeros of a triangular N. */
const stripRows = 128;
/** First rung of the damping ladder, as a multiple of the mean diagonal; each further rung is ten times higher. */
const firstDamping = 1e-6;
const lastDamping = 1;

/**
 * Factors a symmetric positive definite matrix A = L L^T and inverts L, recursively on gemm: with halves 1 and 2,
 * L21 = A21 L11^-T, A22 -= L21 L21^T, (L^-1)21 = -L22^-1 L21 L11^-1.
 * @param a n x n; its lower triangle is read and becomes L; the upper one is scratch.
 * @param inverse n x n; its lower triangle becomes L^-1, the upper one must be and stays zero.
 * @returns false where A is not positive definite in fp32 (both matrices then hold rubbish).
 */
export function choleskyWithInverse(a: Matrix, inverse: Matrix, compute: Compute): boolean {
  return factorBlock(a, inverse, 0, a.rows, compute);
}

function factorBlock(a: Matrix, inverse: Matrix, from: number, size: number, compute: Compute): boolean {
  if (size <= leafSize) return factorLeaf(a, inverse, from, size);
  const half = Math.ceil(size / 2);
  const rest = size - half;
  const middle = from + half;
  if (!factorBlock(a, inverse, from, half, compute)) return false;
  const a21 = blockOf(a, middle, from, rest, half);
  const inverse11 = blockOf(inverse, from, from, half, half);
  const inverse21 = blockOf(inverse, middle, from, rest, half);
  return compute.scope(() => {
    const product = compute.matrix(rest, half);
    compute.gemm(a21, inverse11, product, { transposeB: true });
    for (let i = 0; i < rest; i++) {
      a.data.set(product.data.subarray(i * half, (i + 1) * half), (middle + i) * a.columns + from);
    }
    compute.gemm(a21, a21, blockOf(a, middle, middle, rest, rest), { transposeB: true, alpha: -1, beta: 1 });
    if (!factorBlock(a, inverse, middle, rest, compute)) return false;
    compute.gemm(a21, inverse11, product);
    compute.gemm(blockOf(inverse, middle, middle, rest, rest), product, inverse21, { alpha: -1 });
    return true;
  });
}

const leaf = new Float64Array(leafSize * leafSize);
const leafInverse = new Float64Array(leafSize * leafSize);

/** The unblocked algorithm, in float64. */
function factorLeaf(a: Matrix, inverse: Matrix, from: number, size: number): boolean {
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a.data[(from + i) * a.columns + from + j] as number;
      for (let p = 0; p < j; p++) sum -= (leaf[i * size + p] as number) * (leaf[j * size + p] as number);
      if (i === j) {
        if (!(sum > 0) || sum === Number.POSITIVE_INFINITY) return false;
        leaf[i * size + i] = Math.sqrt(sum);
      } else {
        leaf[i * size + j] = sum / (leaf[j * size + j] as number);
      }
    }
  }
  for (let i = 0; i < size; i++) {
    const pivot = 1 / (leaf[i * size + i] as number);
    for (let j = 0; j < i; j++) {
      let sum = 0;
      for (let p = j; p < i; p++) sum -= (leaf[i * size + p] as number) * (leafInverse[p * size + j] as number);
      leafInverse[i * size + j] = sum * pivot;
    }
    leafInverse[i * size + i] = pivot;
  }
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      a.data[(from + i) * a.columns + from + j] = leaf[i * size + j] as number;
      inverse.data[(from + i) * inverse.columns + from + j] = leafInverse[i * size + j] as number;
    }
  }
  return true;
}

/**
 * Replaces a symmetric positive definite matrix by its inverse L^-T L^-1.
 * @param scratch as large as `a`, overwritten; taken from the arena if absent. A third of a matrix more is taken anyway.
 * @returns false where it is not positive definite in fp32 (the matrix then holds rubbish).
 */
export function invertPositiveDefinite(a: Matrix, compute: Compute, scratch?: Matrix): boolean {
  return compute.scope(() => {
    const n = a.rows;
    const inverse = scratch ?? compute.matrix(n, n);
    if (scratch) scratch.data.fill(0);
    if (!choleskyWithInverse(a, inverse, compute)) return false;
    a.data.fill(0);
    for (let row = 0; row < n; row += stripRows) {
      const height = Math.min(stripRows, n - row);
      const width = row + height;
      const strip = blockOf(inverse, row, 0, height, width);
      compute.gemm(strip, strip, blockOf(a, 0, 0, width, width), { transposeA: true, beta: 1 });
    }
    return true;
  });
}

/** What {@link withDamping} found: the result and the damping it took, as a multiple of the mean diagonal. */
export interface Damped<T> {
  readonly result: T;
  readonly damping: number;
}

/**
 * Climbs the damping ladder: calls `attempt` with copies of A + damping * mean(diag A) I, damping = 0, 1e-6, 1e-5 ... 1,
 * until it does not return undefined. A zero matrix is damped by the identity.
 * @throws DoubleSparseError `not-positive-definite` when even the last rung fails.
 */
export function withDamping<T>(a: Matrix, compute: Compute, attempt: (damped: Matrix) => T | undefined): Damped<T> {
  const n = a.rows;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += (a.data[i * n + i] as number) / n;
  const unit = mean > 0 ? mean : 1;
  const damped = compute.matrix(n, n);
  for (let damping = 0; damping <= lastDamping * 1.001; damping = damping === 0 ? firstDamping : damping * 10) {
    damped.data.set(a.data);
    for (let i = 0; i < n; i++) damped.data[i * n + i] = (a.data[i * n + i] as number) + damping * unit;
    const result = attempt(damped);
    if (result !== undefined) return { result, damping };
  }
  throw new DoubleSparseError(
    'not-positive-definite',
    `a ${n}x${n} matrix (mean diagonal ${mean.toPrecision(3)}) is not positive definite even with damping ${lastDamping}`,
    { data: { size: n, meanDiagonal: mean }, hint: 'calibrate with more samples; a Gram matrix must be symmetric' },
  );
}
