import type { Tape, Variable } from '../tape.js';
import type { OperationContext, Weight } from './context.js';
import { addRow, addToGradient, sumRows } from './rows.js';

/** y = x + b, b one number a column (1 x columns). dL/dx = g, dL/db = sum of the rows of g. */
export function addBias(context: OperationContext, tape: Tape, bias: Weight, x: Variable): Variable {
  const result = tape.variable(x.value.rows, x.value.columns);
  result.value.data.set(x.value.data);
  addRow(result.value, bias.value.data);
  tape.record(() => {
    const gradient = tape.gradientOf(result);
    if (!x.constant) addToGradient(context, tape, x, gradient);
    if (bias.parameter) context.addGradient(bias.parameter, sumRows(context, gradient));
  });
  return result;
}
