import type { Matrix } from '../../linalg/matrix.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext, Weight } from './context.js';

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
    compute.gemm(gradient, weight.value, tape.gradientOf(x), { beta: 1 });
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
    if (residual) addTo(context, residual, gradient);
  });
  return result;
}

function addTo({ compute }: OperationContext, variable: Variable, gradient: Matrix): void {
  if (!variable.gradient) {
    variable.gradient = gradient;
    return;
  }
  const { data } = variable.gradient;
  compute.kernels.linearCombination(data, 1, data, 1, gradient.data);
}

function addRow(target: Matrix, row: Float32Array): void {
  for (let at = 0; at < target.data.length; ) {
    for (let j = 0; j < row.length; j++, at++) target.data[at] = (target.data[at] as number) + (row[j] as number);
  }
}

function sumRows({ compute }: OperationContext, source: Matrix): Matrix {
  const sum = compute.matrix(1, source.columns);
  for (let at = 0; at < source.data.length; ) {
    for (let j = 0; j < source.columns; j++, at++) sum.data[j]! += source.data[at] as number;
  }
  return sum;
}
