import type { Compute } from '../../linalg/compute.js';
import { diagonal, type Matrix } from '../../linalg/matrix.js';

/** Keeps the scaling of dead inputs invertible (method.md section 2 step 1). */
const floor = 1e-8;

/**
 * The alternation's target Y = W diag(s), s = diag(H)^exponent + 1e-8 (exponent 0.5: the diagonal of H as its metric,
 * paper section 3.3). Never stored: W is multiplied where it stands, and what is multiplied with it is scaled.
 */
export interface ScaledTarget {
  /** W, out x in. */
  readonly weight: Matrix;
  /** s and 1 / s, length in, in the arena. 1 / s multiplies the columns of B at the end. */
  readonly scale: Float32Array;
  readonly inverseScale: Float32Array;
}

/** H is first brought to unit mean diagonal, so that the floor means the same for every layer. */
export function scaledTarget(weight: Matrix, gram: Matrix, exponent: number, compute: Compute): ScaledTarget {
  const inputs = diagonal(gram);
  const mean = inputs.reduce((sum, value) => sum + value / inputs.length, 0);
  const unit = mean > 0 ? mean : 1;
  const scale = compute.arena.vector(weight.columns);
  const inverseScale = compute.arena.vector(weight.columns);
  for (const [j, value] of inputs.entries()) {
    scale[j] = (Math.max(0, value) / unit) ** exponent + floor;
    inverseScale[j] = 1 / (scale[j] as number);
  }
  return { weight, scale, inverseScale };
}

/** result (out x in) = Y. */
export function copyTarget({ weight, scale }: ScaledTarget, result: Matrix, compute: Compute): void {
  result.data.set(weight.data);
  compute.kernels.scaleColumns(result.data, result.data, scale);
}

/** result (k x in) = F^T Y for F out x k. */
export function leftTimesTarget(f: Matrix, { weight, scale }: ScaledTarget, result: Matrix, compute: Compute): void {
  compute.gemm(f, weight, result, { transposeA: true });
  compute.kernels.scaleColumns(result.data, result.data, scale);
}

/** result (out x k) = Y F^T for F k x in. */
export function targetTimesRight({ weight, scale }: ScaledTarget, f: Matrix, result: Matrix, compute: Compute): void {
  compute.scope(() => {
    const scaled = compute.matrix(f.rows, f.columns);
    compute.kernels.scaleColumns(scaled.data, f.data, scale);
    compute.gemm(weight, scaled, result, { transposeB: true });
  });
}
