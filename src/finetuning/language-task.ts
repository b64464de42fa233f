import type { EngineChoice } from '../linalg/engines/select.js';
import type { Trainee } from './collect-parameters.js';
import type { FinetuneOptions } from './finetune-options.js';
import type { FinetuneTexts } from './finetune-texts.js';
import type { LanguageShare, LanguageSums } from './language-losses.js';
import type { TeacherModel } from './language-model.js';
import { mixedLoss, openTrainingPool } from './open-training-pool.js';
import type { TrainingTask } from './training-run.js';

/** Threads that train a language model on windows of text. The caller closes its pool. */
export async function languageTask(
  { model, values, parameters }: Trainee,
  teacher: TeacherModel | undefined,
  { training, validation }: FinetuneTexts,
  choice: EngineChoice,
  threads: number,
  { batch, microBatch, weightDecay, teacherWeight }: FinetuneOptions,
): Promise<TrainingTask<Uint32Array, LanguageSums>> {
  const share = teacher ? teacherWeight : 0;
  const { pool, trained } = await openTrainingPool<LanguageShare, Uint32Array, LanguageSums>(
    { program: 'finetuning/language-worker.js', choice, threads, examples: batch },
    { values, parameters, weightDecay },
    (own) => ({ model, trained: own, microBatch, teacherWeight: share, ...(teacher && { teacher }) }),
  );
  return {
    pool,
    trained,
    parameters,
    examples: training.windows.length,
    read: async (indices) => indices.map((index) => training.windows[index] as Uint32Array),
    ...(validation && { validation: validation.windows }),
    predictions: ({ length }) => length - 1,
    lossOf: mixedLoss(share),
  };
}
