import type { Compute } from '../linalg/compute.js';
import type { Matrix } from '../linalg/matrix.js';

/**
 * A trained matrix with a fixed support: entries `offset` to `offset + count` of the flat arrays of values, gradients
 * and optimiser state are its nonzeros, row by row.
 */
export interface Segment {
  readonly rows: number;
  readonly columns: number;
  readonly offset: number;
  readonly count: number;
  /** Row-major positions of the entries, ascending; all positions if absent. */
  readonly positions?: Uint32Array;
  /** Factor of the learning rate (default 1). */
  readonly rate?: number;
}

/** A trained tensor: one matrix, or a product A·B. `target` is its dense form, which the forward pass reads. */
export interface Parameter {
  readonly target: Matrix;
  readonly factors: readonly [Segment] | readonly [Segment, Segment];
  /**
   * Gradients of the dense form, one of each lane, in shared memory. If they are there, each example adds to these alone,
   * and {@link pullBack} is called once a step for all: products of factors cost more than those with a few tokens.
   */
  readonly gradients?: readonly Matrix[];
}

/** Writes the dense form of a segment. */
function expandSegment(values: Float32Array, segment: Segment, target: Float32Array): void {
  const { offset, count, positions } = segment;
  if (!positions) {
    target.set(values.subarray(offset, offset + count));
    return;
  }
  target.fill(0);
  for (let i = 0; i < count; i++) target[positions[i] as number] = values[offset + i] as number;
}

/** Writes the dense form of a parameter, A·B for a product, into its target. */
export function expand(compute: Compute, values: Float32Array, { target, factors: [a, b] }: Parameter): void {
  if (b) compute.scope(() => compute.gemm(denseSegment(compute, values, a), denseSegment(compute, values, b), target));
  else expandSegment(values, a, target.data);
}

/**
 * Adds the gradient of a parameter to those of its nonzeros. For W = A·B, dL/dA = dL/dW B^T and dL/dB = A^T dL/dW,
 * both at their supports alone.
 * @param gradients flat, as values.
 * @param gradient dL/d(dense form).
 */
export function pullBack(
  compute: Compute,
  values: Float32Array,
  gradients: Float32Array,
  { factors: [a, b] }: Parameter,
  gradient: Matrix,
): void {
  if (!b) {
    addSegment(gradients, a, gradient.data);
    return;
  }
  compute.scope(() => {
    const toA = compute.matrix(a.rows, a.columns);
    compute.gemm(gradient, denseSegment(compute, values, b), toA, { transposeB: true });
    addSegment(gradients, a, toA.data);
    const toB = compute.matrix(b.rows, b.columns);
    compute.gemm(denseSegment(compute, values, a), gradient, toB, { transposeA: true });
    addSegment(gradients, b, toB.data);
  });
}

/** The dense form of a segment, in the arena. */
export function denseSegment(compute: Compute, values: Float32Array, segment: Segment): Matrix {
  const result = compute.matrix(segment.rows, segment.columns);
  expandSegment(values, segment, result.data);
  return result;
}

function addSegment(gradients: Float32Array, { offset, count, positions }: Segment, gradient: Float32Array): void {
  if (positions) {
    for (let i = 0; i < count; i++) gradients[offset + i]! += gradient[positions[i] as number] as number;
  } else {
    for (let i = 0; i < count; i++) gradients[offset + i]! += gradient[i] as number;
  }
}
