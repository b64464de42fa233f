import { addCrossGram, addGram } from '../../calibration/gram.js';
import type { Compute } from '../../linalg/compute.js';
import { type Matrix, rowsOf } from '../../linalg/matrix.js';
import { type BlockShape, gatedValues, mixedValues, type TrainedBlock } from '../../training/block.js';
import type { OperationContext } from '../../training/operations/context.js';
import { linear } from '../../training/operations/linear.js';
import { matchingLoss } from '../../training/operations/matching-loss.js';
import { Tape } from '../../training/tape.js';
import type { TrainingShare } from '../../training/training-lane.js';

/** The two parts of a block: each adds to the residual stream. */
export type BlockPart = 'attention' | 'mlp';

/** The product of a part that is added to the residual stream. */
export const lastProducts = { attention: 'self_attn.o_proj', mlp: 'mlp.down_proj' } as const;

/** A part of a block as it is trained, in shared memory. */
export interface PartShare extends TrainingShare {
  readonly part: BlockPart;
  readonly shape: BlockShape;
  readonly weights: TrainedBlock;
  /** Receives sums over the positions of `loss` jobs, one of each lane, in place of errors and outputs. */
  readonly statistics?: readonly OutputStatistics[];
}

/** Of the part's last product y = W x, for wanted outputs d, positions weighted as in {@link matchingLoss}. */
export interface OutputStatistics {
  /** sum x x^T, in x in; the lower triangle. */
  readonly gram: Matrix;
  /** sum d x^T, out x in. */
  readonly cross: Matrix;
}

/** One sequence at the part, or a piece of one that stands for itself, positions x hiddenSize, in shared memory. */
export interface PartExample {
  readonly input: Matrix;
  /** What the output should be. */
  readonly target?: Matrix;
  /** Receives the output. */
  readonly output?: Matrix;
}

/** Sum over positions, see {@link matchingLoss}. */
export type PartSums = { readonly error: number };

const lastInputs = { attention: mixedValues, mlp: gatedValues };

/** @param scale 1 / positions of the whole batch. */
export function partLosses(
  context: OperationContext,
  { part, shape, weights, statistics }: PartShare,
  examples: readonly PartExample[],
  scale: number | undefined,
  lane: number,
): PartSums {
  const { compute } = context;
  let error = 0;
  for (const { input, target, output } of examples) {
    compute.scope(() => {
      const tape = new Tape(compute);
      const hidden = { value: compute.arena.adopt(input), constant: true };
      const inputs = lastInputs[part](context, tape, { ...shape, seqLen: input.rows }, weights, hidden);
      const last = weights.linear[lastProducts[part]];
      const own = statistics?.[lane];
      if (own && target) {
        addStatistics(compute, own, { inputs: inputs.value, hidden: input, target, bias: last.bias?.value });
        return;
      }
      const x = linear(context, tape, last, inputs, hidden);
      output?.data.set(x.value.data);
      if (!target) return;
      error += matchingLoss(context, scale === undefined ? undefined : tape, x, target, scale ?? 0);
      if (scale !== undefined) tape.backward();
    });
  }
  return { error };
}

/** What a part's last product gets, and what it is to give: target - hidden - bias. */
interface LastProductExample {
  readonly inputs: Matrix;
  readonly hidden: Matrix;
  readonly target: Matrix;
  readonly bias: Matrix | undefined;
}

function addStatistics(
  compute: Compute,
  { gram, cross }: OutputStatistics,
  { inputs, hidden, target, bias }: LastProductExample,
): void {
  const { kernels } = compute;
  compute.scope(() => {
    const weights = compute.arena.vector(target.rows);
    for (let row = 0; row < target.rows; row++) {
      const { data } = rowsOf(target, row, 1);
      const energy = kernels.dot(data, data);
      weights[row] = energy > 0 ? 1 / Math.sqrt(energy) : 0;
    }
    const x = compute.matrix(inputs.rows, inputs.columns);
    kernels.scaleRows(x.data, inputs.data, weights);
    const wanted = compute.matrix(target.rows, target.columns);
    kernels.linearCombination(wanted.data, 1, target.data, -1, hidden.data);
    for (let row = 0; bias && row < wanted.rows; row++) {
      const { data } = rowsOf(wanted, row, 1);
      kernels.linearCombination(data, 1, data, -1, bias.data);
    }
    kernels.scaleRows(wanted.data, wanted.data, weights);
    addGram(compute, x, gram, false);
    addCrossGram(compute, wanted, x, cross, false);
  });
}
