import type { Tape, Variable } from '../tape.js';
import type { OperationContext } from './context.js';

/** y = max(0, x) */
export function relu({ backward: kernels }: OperationContext, tape: Tape, x: Variable): Variable {
  const result = tape.variable(x.value.rows, x.value.columns);
  kernels.relu(result.value.data, x.value.data);
  tape.record(() => kernels.reluBackward(tape.gradientOf(x).data, tape.gradientOf(result).data, result.value.data));
  return result;
}
