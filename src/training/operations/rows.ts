import type { Matrix } from '../../linalg/matrix.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext } from './context.js';

/** Adds a row to every row of a matrix. */
export function addRow(target: Matrix, row: Float32Array): void {
  for (let at = 0; at < target.data.length; ) {
    for (let j = 0; j < row.length; j++, at++) target.data[at] = (target.data[at] as number) + (row[j] as number);
  }
}

/** The sum of the rows, 1 x columns, in the arena. */
export function sumRows({ compute }: OperationContext, source: Matrix): Matrix {
  const sum = compute.matrix(1, source.columns);
  for (let at = 0; at < source.data.length; ) {
    for (let j = 0; j < source.columns; j++, at++) sum.data[j]! += source.data[at] as number;
  }
  return sum;
}

/** Adds to the gradient of a variable. */
export function addToGradient({ compute }: OperationContext, tape: Tape, variable: Variable, gradient: Matrix): void {
  const { data } = tape.gradientOf(variable);
  compute.kernels.linearCombination(data, 1, data, 1, gradient.data);
}
