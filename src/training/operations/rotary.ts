import { type Matrix, rowsOf } from '../../linalg/matrix.js';
import type { RotaryTable } from '../../models/llama/rope.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext } from './context.js';

/**
 * Rotary embedding (Su et al. 2021, arXiv 2104.09864) of sequences below each other, in place of x: no operation
 * before it may need x again. The derivative is the rotation back.
 * @param x (sequences * seqLen) x (heads * headSize)
 */
export function rotary(
  { forward }: OperationContext,
  tape: Tape,
  { cosines, sines }: RotaryTable,
  x: Variable,
  headSize: number,
  seqLen: number,
): void {
  const rotate = (target: Matrix, angles: Float32Array): void => {
    for (let row = 0; row < target.rows; row += seqLen) {
      const { data, columns } = rowsOf(target, row, seqLen);
      forward.rotate(data, columns / headSize, headSize, cosines.data, angles);
    }
  };
  rotate(x.value, sines.data);
  tape.record(() => rotate(tape.gradientOf(x), sines.data.map(negative)));
}

const negative = (value: number): number => -value;
