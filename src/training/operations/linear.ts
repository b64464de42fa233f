import type { Matrix } from '../../linalg/matrix.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext, Weight } from './context.js';
import { addRow, addToGradient, sumRows } from './rows.js';

/** A linear layer: weight out x in, bias 1 x out. */
export interface LinearLayer {
  readonly weight: Weight;
  readonly bias?: Weight;
}

/**
 * y = x W^T + b, or with `residual` y = residual + x W^T + b. dL/dx = g W, dL/dW = g^T x, dL/db = sum of the rows of g.
 * @param x rows x in. @returns rows x out.
 */
export function linear(
  context: OperationContext,
  tape: Tape,
  { weight, bias }: LinearLayer,
  x: Variable,
  residual?: Variable,
): Variable {
  const { compute } = context;
  const [out, width] = [weight.value.rows, weight.value.columns];
  const result = tape.variable(x.value.rows, out);
  if (residual) result.value.data.set(residual.value.data);
  if (bias) addRow(result.value, bias.value.data);
  compute.gemm(x.value, weight.value, result.value, { transposeB: true, beta: residual || bias ? 1 : 0 });
  tape.record(() => {
    const gradient = tape.gradientOf(result);
    if (!x.constant) compute.gemm(gradient, weight.value, tape.gradientOf(x), { beta: 1 });
    const { parameter } = weight;
    if (parameter) {
      compute.scope(() => {
        const toWeight = compute.matrix(out, width);
        compute.gemm(gradient, x.value, toWeight, { transposeA: true });
        context.addGradient(parameter, toWeight);
      });
    }
    if (bias?.parameter) context.addGradient(bias.parameter, sumRows(context, gradient));
    // The residual's gradient is ours from here on: nothing reads it as that of the result again.
    if (residual && !residual.constant) addTo(context, tape, residual, gradient);
  });
  return result;
}

/** Hands a gradient over, or adds it to what is there. */
function addTo(context: OperationContext, tape: Tape, variable: Variable, gradient: Matrix): void {
  if (variable.gradient) addToGradient(context, tape, variable, gradient);
  else variable.gradient = gradient;
}
