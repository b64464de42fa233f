import type { Parameter } from '../training/parameter.js';
import { newTrainedValues, type TrainedValues } from '../training/trained-values.js';
import type { Sums, TrainingShare } from '../training/training-lane.js';
import { TrainingPool, type TrainingPoolOptions } from '../training/training-pool.js';

interface Trained {
  readonly values: Float32Array;
  readonly parameters: readonly Parameter[];
  readonly weightDecay: number;
}

/** Threads that train values, which know their share. The caller closes the pool. */
export async function openTrainingPool<Share extends TrainingShare, Example, S extends Sums>(
  options: TrainingPoolOptions,
  { values, parameters, weightDecay }: Trained,
  shareOf: (trained: TrainedValues) => Share,
): Promise<{ pool: TrainingPool<Share, Example, S>; trained: TrainedValues }> {
  const pool = new TrainingPool<Share, Example, S>(options);
  const trained = newTrainedValues(values, parameters, pool.lanes, weightDecay);
  try {
    await pool.share(shareOf(trained));
  } catch (error) {
    await pool.close();
    throw error;
  }
  return { pool, trained };
}

/** (1 - share) cross-entropy + share KL(teacher to model). */
export const mixedLoss =
  (share: number) =>
  ({ crossEntropy, divergence }: { readonly crossEntropy: number; readonly divergence: number }): number =>
    (1 - share) * crossEntropy + share * divergence;
