import type { Compute } from '../../linalg/compute.js';
import { diagonal, type Matrix } from '../../linalg/matrix.js';

/** Keeps the scaling of dead inputs invertible (method.md section 2 step 1). */
const floor = 1e-8;

export interface ScaledTarget {
  /** W diag(s), out x in, in the arena. */
  readonly target: Matrix;
  /** 1 / s, length in, in the arena: multiplies the columns of B at the end. */
  readonly inverseScale: Float32Array;
}

/**
 * Columns scaled by s = diag(H)^exponent + 1e-8 (exponent 0.5: the diagonal of H as the metric of the alternation,
 * paper section 3.3). H is first brought to unit mean diagonal, so that the floor means the same for every layer.
 */
export function scaleColumnsByGram(weight: Matrix, gram: Matrix, exponent: number, compute: Compute): ScaledTarget {
  const inputs = diagonal(gram);
  const mean = inputs.reduce((sum, value) => sum + value / inputs.length, 0);
  const unit = mean > 0 ? mean : 1;
  const scale = compute.arena.vector(weight.columns);
  const inverseScale = compute.arena.vector(weight.columns);
  for (const [j, value] of inputs.entries()) {
    scale[j] = (Math.max(0, value) / unit) ** exponent + floor;
    inverseScale[j] = 1 / (scale[j] as number);
  }
  const target = compute.matrix(weight.rows, weight.columns);
  target.data.set(weight.data);
  compute.kernels.scaleColumns(target.data, target.data, scale);
  return { target, inverseScale };
}
