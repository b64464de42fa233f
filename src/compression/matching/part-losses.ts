import type { Matrix } from '../../linalg/matrix.js';
import { attentionPart, type BlockShape, mlpPart, type TrainedBlock } from '../../training/block.js';
import type { OperationContext } from '../../training/operations/context.js';
import { matchingLoss } from '../../training/operations/matching-loss.js';
import { Tape } from '../../training/tape.js';
import type { TrainingShare } from '../../training/training-lane.js';

/** The two parts of a block: each adds to the residual stream. */
export type BlockPart = 'attention' | 'mlp';

/** A part of a block as it is trained, in shared memory. */
export interface PartShare extends TrainingShare {
  readonly part: BlockPart;
  readonly shape: BlockShape;
  readonly weights: TrainedBlock;
}

/** One sequence at the part, positions x hiddenSize, in shared memory. */
export interface PartExample {
  readonly input: Matrix;
  /** What the output should be. */
  readonly target?: Matrix;
  /** Receives the output. */
  readonly output?: Matrix;
}

/** Sum over positions, see {@link matchingLoss}. */
export type PartSums = { readonly error: number };

const run = { attention: attentionPart, mlp: mlpPart };

/** @param scale 1 / positions of the whole batch. */
export function partLosses(
  context: OperationContext,
  { part, shape, weights }: PartShare,
  examples: readonly PartExample[],
  scale: number | undefined,
): PartSums {
  const { compute } = context;
  let error = 0;
  for (const { input, target, output } of examples) {
    compute.scope(() => {
      const tape = new Tape(compute);
      const x = run[part](context, tape, shape, weights, {
        value: compute.arena.adopt(input),
        constant: true,
      });
      output?.data.set(x.value.data);
      if (!target) return;
      error += matchingLoss(context, scale === undefined ? undefined : tape, x, target, scale ?? 0);
      if (scale !== undefined) tape.backward();
    });
  }
  return { error };
}
