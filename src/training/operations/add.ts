import type { Tape, Variable } from '../tape.js';
import type { OperationContext } from './context.js';
import { addToGradient } from './rows.js';

/** The sum of two values of one shape. */
export function add(context: OperationContext, tape: Tape, left: Variable, right: Variable): Variable {
  const result = tape.variable(left.value.rows, left.value.columns);
  context.compute.kernels.linearCombination(result.value.data, 1, left.value.data, 1, right.value.data);
  tape.record(() => {
    const gradient = tape.gradientOf(result);
    addToGradient(context, tape, left, gradient);
    addToGradient(context, tape, right, gradient);
  });
  return result;
}
