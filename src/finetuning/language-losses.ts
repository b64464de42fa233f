import type { OperationContext } from '../training/operations/context.js';
import type { TrainingShare } from '../training/training-lane.js';
import { keptBytes, runSequences, type TeacherModel, type TrainedModel } from './language-model.js';

/** What all threads of a training run share. */
export interface LanguageShare extends TrainingShare {
  readonly model: TrainedModel;
  readonly teacher?: TeacherModel;
  readonly teacherWeight: number;
}

/** Sums over predicted tokens, see {@link LossSums}. */
export type LanguageSums = { readonly crossEntropy: number; readonly divergence: number };

/** Losses of sequences of equal length. @param scale 1 / predicted tokens of the whole batch. */
export function languageLosses(
  context: OperationContext,
  { model, teacher, teacherWeight, trained }: LanguageShare,
  sequences: readonly Uint32Array[],
  scale: number | undefined,
): LanguageSums {
  const settings = { scale: scale ?? 0, teacherWeight, ...(teacher && { teacher }) };
  const limit = keptBytes / trained.gradients.length;
  const { crossEntropy, divergence } = runSequences(context, model, sequences, settings, scale !== undefined, limit);
  return { crossEntropy, divergence };
}
