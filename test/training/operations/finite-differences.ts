import { expect } from 'vitest';
import { Compute } from '../../../src/linalg/compute.js';
import { referenceEngine } from '../../../src/linalg/engines/reference.js';
import type { Matrix } from '../../../src/linalg/matrix.js';
import { llamaKernels } from '../../../src/models/llama/wasm-kernels.js';
import type { OperationContext, Weight } from '../../../src/training/operations/context.js';
import { pullBack } from '../../../src/training/parameter.js';
import { Tape, type Variable } from '../../../src/training/tape.js';
import { wasmTrainingKernels } from '../../../src/training/wasm-kernels.js';
import { randomMatrix, seededRandom } from '../../helpers.js';

const compute = new Compute(referenceEngine);

/** An operation on random inputs and weights. */
export interface Case {
  readonly inputs: readonly Matrix[];
  readonly weights?: readonly Matrix[];
  readonly operation: (context: OperationContext, tape: Tape, inputs: Variable[], weights: Weight[]) => Variable;
}

/**
 * Compares the gradients of L = sum(C * result), C random, with central differences along random directions in each
 * input and weight. fp32: the step is the cube root of its precision, where roundoff and the third derivative balance.
 */
export function checkDerivatives({ inputs, weights = [], operation }: Case): void {
  const all = [...inputs, ...weights];
  const gradients = weights.map(({ data }) => new Float32Array(data.length));
  const run = <T>(values: readonly Matrix[], work: (tape: Tape, variables: Variable[], result: Variable) => T): T =>
    compute.scope(() => {
      const own = values.map((value) => compute.arena.adopt({ ...value, data: value.data.slice() }));
      const variables = own.slice(0, inputs.length).map((value): Variable => ({ value }));
      const trained = own.slice(inputs.length).map((value, index): Weight => {
        const { rows, columns, data } = value;
        return {
          value,
          parameter: { target: value, factors: [{ rows, columns, offset: index, count: data.length }] },
        };
      });
      const context: OperationContext = {
        compute,
        forward: llamaKernels(compute),
        backward: wasmTrainingKernels(compute.arena),
        addGradient: ({ target, factors: [segment] }, gradient) =>
          pullBack(
            compute,
            target.data,
            gradients[segment.offset]!,
            { target, factors: [{ ...segment, offset: 0 }] },
            gradient,
          ),
      };
      const tape = new Tape(compute);
      return work(tape, variables, operation(context, tape, variables, trained));
    });
  const cotangent = run(all, (_, __, { value }) => randomMatrix(value.rows, value.columns, 99));
  const loss = (values: readonly Matrix[]): number =>
    run(values, (_, __, { value }) => value.data.reduce((sum, y, i) => sum + y * cotangent.data[i]!, 0));
  const computed = run(all, (tape, variables, result) => {
    result.gradient = compute.arena.adopt({ ...cotangent, data: cotangent.data.slice() });
    tape.backward();
    return variables.map((variable) => tape.gradientOf(variable).data.slice());
  });
  const step = 4e-3;
  for (const [index, gradient] of [...computed, ...gradients].entries()) {
    const random = seededRandom(7 + index);
    const direction = gradient.map(() => 2 * random() - 1);
    const moved = (by: number) =>
      all.map((value, i) =>
        i === index ? { ...value, data: value.data.map((x, j) => x + by * direction[j]!) } : value,
      );
    const difference = (loss(moved(step)) - loss(moved(-step))) / (2 * step);
    const along = gradient.reduce((sum, g, i) => sum + g * direction[i]!, 0);
    const size = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
    expect(size, `input ${index} has a gradient`).toBeGreaterThan(0);
    expect(
      Math.abs(along - difference),
      `input ${index}: ${along} by the tape, ${difference} by differences`,
    ).toBeLessThan(2e-3 * size + 1e-3);
  }
}
