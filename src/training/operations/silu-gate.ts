import type { Tape, Variable } from '../tape.js';
import type { OperationContext } from './context.js';

/** y = gate sigmoid(gate) up (SwiGLU without its matrices, Shazeer 2020, arXiv 2002.05202). */
export function siluGate(context: OperationContext, tape: Tape, gate: Variable, up: Variable): Variable {
  const result = tape.variable(gate.value.rows, gate.value.columns);
  result.value.data.set(gate.value.data);
  context.forward.siluMultiply(result.value.data, up.value.data);
  tape.record(() => {
    const [toGate, toUp] = [tape.gradientOf(gate), tape.gradientOf(up)];
    context.compute.scope(() => {
      const [gradientGate, gradientUp] = [gate, up].map(({ value }) => {
        const copy = context.compute.arena.vector(value.data.length);
        copy.set(value.data);
        return copy;
      }) as [Float32Array, Float32Array];
      context.backward.siluMultiplyBackward(gradientGate, gradientUp, tape.gradientOf(result).data);
      const { kernels } = context.compute;
      kernels.linearCombination(toGate.data, 1, toGate.data, 1, gradientGate);
      kernels.linearCombination(toUp.data, 1, toUp.data, 1, gradientUp);
    });
  });
  return result;
}
