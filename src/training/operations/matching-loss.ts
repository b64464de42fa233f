import type { Matrix } from '../../linalg/matrix.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext } from './context.js';

/**
 * Sum over rows of |x - target|^2 / |target|^2: what follows a residual stream is an RMSNorm, to which only the size of
 * an error relative to its row counts. Rows of zeros have no part in it.
 * With a tape, `scale` times its gradient is added to that of x.
 */
export function matchingLoss(
  { compute }: OperationContext,
  tape: Tape | undefined,
  x: Variable,
  target: Matrix,
  scale: number,
): number {
  const { rows, columns, data } = x.value;
  const toX = tape?.gradientOf(x).data;
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    const [begin, end] = [row * columns, (row + 1) * columns];
    const wanted = target.data.subarray(begin, end);
    const energy = compute.kernels.dot(wanted, wanted);
    if (energy === 0) continue;
    let squares = 0;
    const factor = (2 * scale) / energy;
    for (let i = begin; i < end; i++) {
      const difference = (data[i] as number) - (target.data[i] as number);
      squares += difference * difference;
      if (toX) toX[i]! += factor * difference;
    }
    sum += squares / energy;
  }
  return sum;
}
