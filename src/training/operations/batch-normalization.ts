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
  const { rows, columns } = x.value;
  const result = tape.variable(rows, columns);
  const inverse = Float64Array.from(variance.value.data, (value) => 1 / Math.sqrt(value + epsilon));
  const [means, scales, shifts] = [mean.value.data, scale.value.data, shift.value.data];
  const factors = inverse.map((value, j) => value * (scales[j] as number));
  const offsets = factors.map((value, j) => (shifts[j] as number) - value * (means[j] as number));
  const [from, to] = [x.value.data, result.value.data];
  for (let at = 0; at < from.length; ) {
    for (let j = 0; j < columns; j++, at++)
      to[at] = (from[at] as number) * (factors[j] as number) + (offsets[j] as number);
  }
  tape.record(() => {
    const gradient = tape.gradientOf(result).data;
    const toX = tape.gradientOf(x).data;
    const [sums, products] = [new Float64Array(columns), new Float64Array(columns)];
    for (let at = 0; at < gradient.length; ) {
      for (let j = 0; j < columns; j++, at++) {
        const g = gradient[at] as number;
        toX[at]! += g * (factors[j] as number);
        sums[j]! += g;
        products[j]! += g * (from[at] as number);
      }
    }
    const { compute } = context;
    const row = (value: (j: number) => number) => {
      const matrix = compute.matrix(1, columns);
      for (let j = 0; j < columns; j++) matrix.data[j] = value(j);
      return matrix;
    };
    compute.scope(() => {
      const along = (j: number) => ((products[j] as number) - (sums[j] as number) * (means[j] as number)) * inverse[j]!;
      if (scale.parameter) context.addGradient(scale.parameter, row(along));
      if (shift.parameter)
        context.addGradient(
          shift.parameter,
          row((j) => sums[j] as number),
        );
    });
  });
  return result;
}
