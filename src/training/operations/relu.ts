import type { Tape, Variable } from '../tape.js';

/** y = max(0, x) */
export function relu(tape: Tape, x: Variable): Variable {
  const result = tape.variable(x.value.rows, x.value.columns);
  const [from, to] = [x.value.data, result.value.data];
  for (let i = 0; i < from.length; i++) to[i] = Math.max(0, from[i] as number);
  tape.record(() => {
    const [gradient, toX] = [tape.gradientOf(result).data, tape.gradientOf(x).data];
    for (let i = 0; i < to.length; i++) if ((to[i] as number) > 0) toX[i]! += gradient[i] as number;
  });
  return result;
}
