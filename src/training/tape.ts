import type { Compute } from '../linalg/compute.js';
import type { Matrix } from '../linalg/matrix.js';

/** A value of the forward pass, and dL/dvalue where the backward pass has come by. */
export interface Variable {
  readonly value: Matrix;
  gradient?: Matrix;
  /** Nothing that is trained lies before it: nobody wants its gradient. */
  readonly constant?: boolean;
}

/**
 * Reverse-mode differentiation over engine matrices. Operations (operations/) compute a value and record how its
 * gradient goes on to their inputs; {@link backward} runs these steps from the last to the first. Everything lies in
 * the arena: values live as long as the scope that the operations ran in.
 */
export class Tape {
  readonly compute: Compute;
  readonly #steps: (() => void)[] = [];

  constructor(compute: Compute) {
    this.compute = compute;
  }

  /** A new value, zeros. */
  variable(rows: number, columns: number, constant = false): Variable {
    return { value: this.compute.matrix(rows, columns), constant };
  }

  /** @param backward adds to the gradients of the inputs of the operation. */
  record(backward: () => void): void {
    this.#steps.push(backward);
  }

  /** Runs what was recorded, once, last first. The caller has set the gradient of the result. */
  backward(): void {
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) step();
  }

  /** dL/dvalue to add to: zeros at first. Lives as long as the scope that {@link backward} runs in. */
  gradientOf(variable: Variable): Matrix {
    variable.gradient ??= this.compute.matrix(variable.value.rows, variable.value.columns);
    return variable.gradient;
  }
}
