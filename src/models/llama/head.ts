import type { Compute } from '../../linalg/compute.js';
import { blockOf } from '../../linalg/engine.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { LlamaConfig } from './config.js';
import type { LlamaKernels } from './kernels.js';
import { llamaKernels } from './wasm-kernels.js';
import type { HeadWeights } from './weights.js';

/** Words of the vocabulary whose logits are in memory at one time, for all positions of a sequence (16 KiB each). */
const vocabularySlice = 4096;

/** Final norm and output projection: hidden states of the last block to logits, or straight to losses. */
export class Head {
  readonly #compute: Compute;
  readonly #epsilon: number;
  readonly #weights: HeadWeights;
  readonly #kernels: LlamaKernels;

  constructor(
    compute: Compute,
    config: LlamaConfig,
    weights: HeadWeights,
    kernels: LlamaKernels = llamaKernels(compute),
  ) {
    this.#compute = compute;
    this.#epsilon = config.normEpsilon;
    this.#weights = weights;
    this.#kernels = kernels;
  }

  /**
   * Logits of every position.
   * @param hidden positions x hiddenSize; unchanged.
   * @param target positions x vocabularySize.
   */
  logits(hidden: Matrix, target: Matrix): void {
    this.#compute.scope(() => {
      this.#compute.gemm(this.#normed(hidden, hidden.rows), this.#weights.projection, target, { transposeB: true });
    });
  }

  /**
   * Negative log likelihood (natural logarithm) of each next token, never holding more than a slice of the vocabulary.
   * @param hidden positions x hiddenSize; unchanged.
   * @param ids the tokens of the sequence.
   * @param losses positions - 1 values: entry p is the loss of ids[p + 1] after ids[0 .. p].
   */
  losses(hidden: Matrix, ids: ArrayLike<number>, losses: Float64Array): void {
    const rows = hidden.rows - 1;
    if (rows < 1) return;
    const { projection } = this.#weights;
    this.#compute.scope(() => {
      const { arena } = this.#compute;
      const maxima = arena.doubles(rows).fill(Number.NEGATIVE_INFINITY);
      const sums = arena.doubles(rows);
      const normed = this.#normed(hidden, rows);
      const scratch = arena.vector(rows * Math.min(vocabularySlice, projection.rows));
      for (let from = 0; from < projection.rows; from += vocabularySlice) {
        const columns = Math.min(vocabularySlice, projection.rows - from);
        const logits: Matrix = { rows, columns, data: scratch.subarray(0, rows * columns) };
        this.#compute.gemm(normed, blockOf(projection, from, 0, columns, projection.columns), logits, {
          transposeB: true,
        });
        this.#kernels.accumulateExponentials(logits.data, columns, maxima, sums);
        for (let row = 0; row < rows; row++) {
          const column = (ids[row + 1] as number) - from;
          if (column >= 0 && column < columns) losses[row] = -(logits.data[row * columns + column] as number);
        }
      }
      for (let row = 0; row < rows; row++) {
        losses[row] = (losses[row] as number) + (maxima[row] as number) + Math.log(sums[row] as number);
      }
    });
  }

  #normed(hidden: Matrix, rows: number): Matrix {
    const result = this.#compute.matrix(rows, hidden.columns);
    const input = hidden.data.subarray(0, rows * hidden.columns);
    this.#kernels.rmsNorm(result.data, input, this.#weights.norm.data, this.#epsilon);
    return result;
  }
}
