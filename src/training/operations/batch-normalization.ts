import type { Matrix } from '../../linalg/matrix.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext, Weight } from './context.js';

export interface BatchNormalizationLayer {
  /** 1 x channels each. */
  readonly scale: Weight;
  readonly shift: Weight;
  readonly mean: Weight;
  readonly variance: Weight;
  readonly epsilon: number;
}

/**
 * y = scale (x - mean) / sqrt(variance + epsilon) + shift with the stored statistics (inference mode, Ioffe & Szegedy
 * 2015, arXiv 1502.03167): scale and shift are trained, and can make up for statistics that changed.
 */
export function batchNormalization(
  context: OperationContext,
  tape: Tape,
  { scale, shift, mean, variance, epsilon }: BatchNormalizationLayer,
  x: Variable,
): Variable {
  const { compute, backward: kernels } = context;
  const { rows, columns } = x.value;
  const row = (value: (j: number) => number): Matrix => {
    const matrix = compute.matrix(1, columns);
    for (let j = 0; j < columns; j++) matrix.data[j] = value(j);
    return matrix;
  };
  const result = tape.variable(rows, columns);
  const inverse = Float64Array.from(variance.value.data, (value) => 1 / Math.sqrt(value + epsilon));
  const [means, scales, shifts] = [mean.value.data, scale.value.data, shift.value.data];
  const factors = row((j) => (scales[j] as number) * (inverse[j] as number));
  const offsets = row((j) => (shifts[j] as number) - (factors.data[j] as number) * (means[j] as number));
  kernels.scaleAndShift(result.value.data, x.value.data, factors.data, offsets.data);
  tape.record(() => {
    const [gradient, toX] = [tape.gradientOf(result), tape.gradientOf(x)];
    compute.scope(() => {
      const [toFactors, toOffsets] = [row(() => 0), row(() => 0)];
      const [products, sums] = [toFactors.data, toOffsets.data];
      kernels.scaleAndShiftBackward(toX.data, gradient.data, x.value.data, factors.data, products, sums);
      const along = (j: number) =>
        ((products[j] as number) - (sums[j] as number) * (means[j] as number)) * (inverse[j] as number);
      if (scale.parameter) context.addGradient(scale.parameter, row(along));
      if (shift.parameter) context.addGradient(shift.parameter, toOffsets);
    });
  });
  return result;
}
