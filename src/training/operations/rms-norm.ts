import type { Tape, Variable } from '../tape.js';
import type { OperationContext, Weight } from './context.js';

/**
 * y = x / sqrt(mean(x^2) + epsilon) * weight (Zhang & Sennrich 2019, arXiv 1910.07467), over pieces of weight.length:
 * whole rows, or each head of a row.
 */
export function rmsNorm(
  context: OperationContext,
  tape: Tape,
  { value: weight, parameter }: Weight,
  x: Variable,
  epsilon: number,
): Variable {
  const { compute } = context;
  const constant = x.constant === true && !parameter;
  const result = tape.variable(x.value.rows, x.value.columns, constant);
  context.forward.rmsNorm(result.value.data, x.value.data, weight.data, epsilon);
  if (constant) return result;
  tape.record(() => {
    const toX = tape.gradientOf(x);
    const gradient = tape.gradientOf(result);
    compute.scope(() => {
      const toWeight = compute.matrix(1, weight.columns);
      context.backward.rmsNormBackward(x.value.data, weight.data, gradient.data, toX.data, toWeight.data, epsilon);
      if (parameter) context.addGradient(parameter, toWeight);
    });
  });
  return result;
}
