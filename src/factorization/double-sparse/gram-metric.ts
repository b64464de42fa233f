import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';

/**
 * The metric M = (1 - share) I + share * S^-1 H S^-1 / mean diagonal, S = diag(scale): the identity of the scaled
 * problem with some of the full Gram matrix. Never stored: H is multiplied where it stands.
 */
export interface GramMetric {
  readonly gram: Matrix;
  /** 1 / s, length in. */
  readonly inverseScale: Float32Array;
  readonly share: number;
}

/** target = x M (k x in). */
export function multiplyByMetric(
  x: Matrix,
  { gram, inverseScale, share }: GramMetric,
  target: Matrix,
  compute: Compute,
): void {
  const { kernels } = compute;
  let mean = 0;
  for (let j = 0; j < gram.rows; j++) {
    mean += ((gram.data[j * gram.rows + j] as number) * (inverseScale[j] as number) ** 2) / gram.rows;
  }
  compute.scope(() => {
    const scaled = compute.matrix(x.rows, x.columns);
    kernels.scaleColumns(scaled.data, x.data, inverseScale);
    compute.gemm(scaled, gram, target);
  });
  kernels.scaleColumns(target.data, target.data, inverseScale);
  kernels.linearCombination(target.data, mean > 0 ? share / mean : 0, target.data, 1 - share, x.data);
}
