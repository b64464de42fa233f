import { learningRateAt } from '../../training/learning-rate.js';
import type { TrainedValues } from '../../training/trained-values.js';
import { TrainingOrder } from '../../training/training-order.js';
import type { TrainingPool } from '../../training/training-pool.js';
import type { PartExample, PartShare, PartSums } from './part-losses.js';

export type MatchingPool = TrainingPool<PartShare, PartExample, PartSums>;

export interface PartExamples {
  readonly training: readonly PartExample[];
  /** Decide on learning rate and stop. */
  readonly heldOut: readonly PartExample[];
}

export interface MatchOptions {
  readonly steps: number;
  /** Examples of a step. */
  readonly batch: number;
  readonly seed: number;
  /** See {@link firstRate}. */
  readonly firstRate: number;
}

/** How the steps of a part went. */
export interface MatchedSteps {
  /** The held-out error of the best values. */
  readonly after: number;
  /** The step whose values were kept; 0 if none was better than what it began with. */
  readonly bestStep: number;
  readonly steps: number;
  /** At the end, before its cosine; as a part of the root mean square of a factor's values. */
  readonly learningRate: number;
  /** The step at which something was no finite number, which ended the matching; 0 for an error before the first. */
  readonly nonFiniteStep?: number;
}

/** Learning rates, relative to the root mean square of a factor's values: of the first block, and the limits of the first of a block. */
const [usualRate, smallestFirst, largestFirst] = [4.5e-3, 2e-3, 6e-3];
/** Smaller ones are not worth going on. */
const smallestRate = 2e-4;
/** Factor of the learning rate when the held-out windows got no better. */
const shrink = 0.3;
/** Looks at the held-out windows in a whole run. */
const looks = 2;
/** Less than is usual: in so few steps the mean of many gradients lags behind. */
const momentum = 0.5;
/** Steps in which the rate rises: the first gradients tell little about their sizes. */
const rising = 2;

/** The rate to begin with: what the same part of the block before it ended with, and a little more. */
export function firstRate(before: MatchedSteps | undefined): number {
  if (!before) return usualRate;
  return Math.min(largestFirst, Math.max(smallestFirst, 1.3 * before.learningRate));
}

/**
 * Trains the values of a part of a block until it has made all steps or nothing helps any more, and leaves the best
 * values. At each look at the held-out windows that are no better than at the best before, the values go back to those,
 * the optimiser forgets its moments, and the learning rate shrinks; in between it falls like a cosine. A loss, gradient or
 * error that is no finite number ends it. Deterministic.
 * @param trained of the share that the pool has; its values are in the dense weights, before and afterwards.
 * @param before the held-out error of its values.
 */
export async function matchPart(
  pool: MatchingPool,
  trained: TrainedValues,
  { training, heldOut }: PartExamples,
  before: number,
  { steps, batch, seed, firstRate: first }: MatchOptions,
): Promise<MatchedSteps> {
  const order = new TrainingOrder(training.length, batch, seed);
  const every = Math.max(1, Math.ceil(steps / looks));
  const best = { error: before, step: 0, values: trained.values.slice() };
  let [rate, step, forgotten] = [first, 0, 0];
  let finite = Number.isFinite(before);
  while (finite && step < steps && rate >= smallestRate) {
    step++;
    const examples = order.batch(step).map((index) => training[index] as PartExample);
    const { sums, gradientNorm } = await pool.gradient(examples, 1 / positionsOf(examples));
    finite = Number.isFinite(sums.error) && Number.isFinite(gradientNorm);
    if (!finite) break;
    const schedule = { steps, learningRate: rate, warmup: Math.min(1, rising / steps), finalRate: 0.05 };
    // The moments' corrections count from where these began.
    await pool.update({
      step: step - forgotten,
      learningRate: learningRateAt(step, schedule),
      gradientScale: 1,
      momentum,
    });
    if (step % every !== 0 && step !== steps) continue;
    const error = await heldOutError(pool, heldOut);
    finite = Number.isFinite(error);
    if (error < best.error) {
      best.values.set(trained.values);
      Object.assign(best, { error, step });
    } else {
      trained.values.set(best.values);
      await pool.expand();
      for (const moments of [trained.first, trained.second]) moments.fill(0);
      forgotten = step;
      rate *= shrink;
    }
  }
  trained.values.set(best.values);
  await pool.expand();
  const end = { after: best.error, bestStep: best.step, steps: step, learningRate: rate };
  return finite ? end : { ...end, nonFiniteStep: step };
}

/** The mean of {@link matchingLoss} over positions. */
export async function heldOutError(pool: MatchingPool, examples: readonly PartExample[]): Promise<number> {
  return (await pool.losses(examples)).error / positionsOf(examples);
}

function positionsOf(examples: readonly PartExample[]): number {
  return examples.reduce((sum, { input }) => sum + input.rows, 0);
}
