import { indexOfLargest } from '../../linalg/index-of-largest.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext } from './context.js';

export interface ClassificationOptions {
  /** The class of each row; -1 where it is not known. */
  readonly labels: Int32Array;
  /** Factor of the loss in the gradient. */
  readonly scale: number;
  /** Logits of another model, and the share of the divergence from it. */
  readonly teacher?: { readonly logits: Matrix; readonly weight: number };
}

/** Sums over rows, and rows whose largest logit is that of their label. */
export type ClassificationSums = {
  readonly crossEntropy: number;
  readonly divergence: number;
  readonly correct: number;
};

/**
 * L = (1 - w) cross-entropy + w KL(q || p), p = softmax(x), q of the teacher; dL/dx = p - (1 - w) onehot - w q, for rows
 * with a label.
 * @param tape absent: no gradients.
 */
export function classificationLoss(
  { compute, backward }: OperationContext,
  tape: Tape | undefined,
  x: Variable,
  { labels, scale, teacher }: ClassificationOptions,
): ClassificationSums {
  const { rows, columns } = x.value;
  const share = teacher?.weight ?? 0;
  const toX = tape?.gradientOf(x).data;
  let [crossEntropy, divergence, correct] = [0, 0, 0];
  compute.scope(() => {
    const [p, logSums] = [compute.arena.vector(rows * columns), compute.arena.doubles(rows)];
    p.set(x.value.data);
    backward.softmax(p, logSums);
    const [q, theirLogSums] = [compute.arena.vector(teacher ? rows * columns : 0), compute.arena.doubles(rows)];
    if (teacher) {
      q.set(teacher.logits.data);
      backward.softmax(q, theirLogSums);
    }
    for (let row = 0; row < rows; row++) {
      const [begin, label] = [row * columns, labels[row] as number];
      const own = x.value.data.subarray(begin, begin + columns);
      if (label >= 0) {
        crossEntropy += (logSums[row] as number) - (own[label] as number);
        if (indexOfLargest(own) === label) correct++;
      }
      for (let j = 0; j < columns; j++) {
        const at = begin + j;
        const theirs = teacher ? (q[at] as number) : 0;
        if (teacher) {
          const theirLog = (teacher.logits.data[at] as number) - (theirLogSums[row] as number);
          divergence += theirs * (theirLog - (x.value.data[at] as number) + (logSums[row] as number));
        }
        if (!toX) continue;
        const wanted = (label === j ? 1 - share : 0) + share * theirs;
        const whole = label < 0 ? share : 1;
        toX[at]! += scale * (whole * (p[at] as number) - wanted);
      }
    }
  });
  return { crossEntropy, divergence, correct };
}
