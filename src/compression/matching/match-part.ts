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
}

/** What matching brought, as mean squared errors of the rows of the output relative to them, on held-out windows. */
export interface PartGain {
  readonly before: number;
  readonly after: number;
  /** The step whose values were kept; 0 if none was better. */
  readonly bestStep: number;
  readonly steps: number;
  /** Of the last step, as a part of the root mean square of a factor's values. */
  readonly learningRate: number;
}

/** Learning rates, relative to the root mean square of a factor's values: the first, and where it is not worth going on. */
const [highestRate, lowestRate] = [Number(process.env.DSF_RATE ?? 0.02), Number(process.env.DSF_RATE ?? 0.02) / 30];
/** Factor of the learning rate when the held-out windows got no better. */
const shrink = Number(process.env.DSF_SHRINK ?? 0.4);
/** Looks at the held-out windows in a whole run. */
const looks = Number(process.env.DSF_LOOKS ?? 6);

/**
 * Trains the values of a part of a block until it has made all steps or nothing helps any more, and leaves the best
 * values. At each look at the held-out windows that are no better than at the best before, the values go back to those
 * and the learning rate shrinks; in between it falls like a cosine. Deterministic.
 * @param trained of the share that the pool has.
 */
export async function matchPart(
  pool: MatchingPool,
  trained: TrainedValues,
  { training, heldOut }: PartExamples,
  { steps, batch, seed }: MatchOptions,
): Promise<PartGain> {
  const heldOutError = async (): Promise<number> => (await pool.losses(heldOut)).error / positionsOf(heldOut);
  const order = new TrainingOrder(training.length, batch, seed);
  const every = Math.max(1, Math.ceil(steps / looks));
  await pool.expand();
  const before = await heldOutError();
  const best = { error: before, step: 0, values: trained.values.slice() };
  let [rate, step] = [highestRate, 0];
  while (step < steps && rate >= lowestRate) {
    step++;
    const examples = order.batch(step).map((index) => training[index] as PartExample);
    await pool.gradient(examples, 1 / positionsOf(examples));
    const learningRate = rate * Math.min(1, step / 3) * (0.02 + 0.98 * 0.5 * (1 + Math.cos((Math.PI * step) / steps)));
    await pool.update({ step, learningRate, gradientScale: 1 });
    if (step % every !== 0 && step !== steps) continue;
    const error = await heldOutError();
    if (process.env.DSF_TRACE) console.error(`  step ${step} rate ${learningRate.toPrecision(2)} held out ${error}`);
    if (error < best.error) {
      best.values.set(trained.values);
      Object.assign(best, { error, step });
    } else {
      trained.values.set(best.values);
      await pool.expand();
      rate *= shrink;
    }
  }
  trained.values.set(best.values);
  await pool.expand();
  return { before, after: best.error, bestStep: best.step, steps: step, learningRate: rate };
}

function positionsOf(examples: readonly PartExample[]): number {
  return examples.reduce((sum, { input }) => sum + input.rows, 0);
}
