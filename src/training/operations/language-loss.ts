import { type Matrix, rowsOf } from '../../linalg/matrix.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext, Weight } from './context.js';

/** Rows whose logits are in memory at one time (of a vocabulary of 50,000: 51 MB). */
const rowTile = 256;

export interface LossOptions {
  /** The next token at each row; -1 for none. */
  readonly targets: Int32Array;
  /** Factor of the loss in the gradient: 1 / tokens of the whole batch. */
  readonly scale: number;
  /** Teacher's outputs of the last norm, and its head; with it, `weight` of the Kullback-Leibler divergence. */
  readonly teacher?: { readonly normed: Matrix; readonly projection: Matrix; readonly weight: number };
}

/** Sums over the rows that have a target. */
export interface LossSums {
  /** Negative log likelihood, natural logarithm. */
  readonly crossEntropy: number;
  /** KL(teacher || model), temperature 1. */
  readonly divergence: number;
}

/**
 * L = (1 - w) cross-entropy + w KL(q || p), p = softmax(x E^T), q of the teacher; tile of rows by tile, never all
 * logits at once. dL/dlogits = p - (1 - w) onehot - w q.
 * With a tape the gradient of x, and of E where it is trained, is added at once.
 * @param x rows x hiddenSize, behind the final norm. @param head E, vocabularySize x hiddenSize.
 */
export function languageLoss(
  context: OperationContext,
  tape: Tape | undefined,
  { value: projection, parameter }: Weight,
  x: Variable,
  { targets, scale, teacher }: LossOptions,
): LossSums {
  const { compute, backward } = context;
  const { arena, kernels } = compute;
  const vocabulary = projection.rows;
  const share = teacher?.weight ?? 0;
  let [crossEntropy, divergence] = [0, 0];
  const toX = tape?.gradientOf(x);
  compute.scope(() => {
    const tile = Math.min(rowTile, x.value.rows);
    const scratch = Array.from({ length: teacher ? 3 : 1 }, () => arena.vector(tile * vocabulary));
    const logSumScratch = [arena.doubles(tile), arena.doubles(tile)] as const;
    const toHead = tape && parameter ? compute.matrix(vocabulary, projection.columns) : undefined;
    for (let from = 0; from < x.value.rows; from += tile) {
      const rows = Math.min(tile, x.value.rows - from);
      const [logits, theirs, probabilities] = scratch.map((data) => ({
        rows,
        columns: vocabulary,
        data: data.subarray(0, rows * vocabulary),
      })) as [Matrix, Matrix | undefined, Matrix | undefined];
      const [logSums, theirLogSums] = logSumScratch.map((sums) => sums.subarray(0, rows)) as [
        Float64Array,
        Float64Array,
      ];
      const input = rowsOf(x.value, from, rows);
      compute.gemm(input, projection, logits, { transposeB: true });
      const ofRow = ({ data }: Matrix, row: number) => data.subarray(row * vocabulary, (row + 1) * vocabulary);
      const chosen = Float64Array.from({ length: rows }, (_, row) => {
        const target = targets[from + row] as number;
        return target < 0 ? 0 : (logits.data[row * vocabulary + target] as number);
      });
      const dots = new Float64Array(rows);
      if (teacher && theirs && probabilities) {
        compute.gemm(rowsOf(teacher.normed, from, rows), teacher.projection, theirs, { transposeB: true });
        probabilities.data.set(theirs.data);
        backward.softmax(probabilities.data, theirLogSums);
        // sum q (log q - log p), before the logits become probabilities.
        for (let row = 0; row < rows; row++) {
          const q = ofRow(probabilities, row);
          dots[row] = kernels.dot(q, ofRow(theirs, row)) - kernels.dot(q, ofRow(logits, row));
        }
      }
      backward.softmax(logits.data, logSums);
      for (let row = 0; row < rows; row++) {
        if ((targets[from + row] as number) < 0) continue;
        crossEntropy += (logSums[row] as number) - (chosen[row] as number);
        if (teacher) divergence += (dots[row] as number) - (theirLogSums[row] as number) + (logSums[row] as number);
      }
      if (!toX) continue;
      if (probabilities) {
        kernels.linearCombination(logits.data, scale, logits.data, -scale * share, probabilities.data);
      } else kernels.linearCombination(logits.data, scale, logits.data, 0, logits.data);
      for (let row = 0; row < rows; row++) {
        const target = targets[from + row] as number;
        if (target < 0) ofRow(logits, row).fill(0);
        else logits.data[row * vocabulary + target]! -= scale * (1 - share);
      }
      compute.gemm(logits, projection, rowsOf(toX, from, rows), { beta: 1 });
      if (toHead) compute.gemm(logits, input, toHead, { transposeA: true, beta: 1 });
    }
    if (toHead && parameter) context.addGradient(parameter, toHead);
  });
  return { crossEntropy, divergence };
}
