import { z } from 'zod';
import { type FinetuneOptions, finetuneOptionsSchema } from '../finetuning/finetune-options.js';
import type { EngineChoice } from '../linalg/engines/select.js';

const { batch, learningRate, teacherWeight } = finetuneOptionsSchema.shape;

/** Options of a comparison that say how every model of it is fine-tuned. */
export const tuningOptionsSchema = z.object({
  finetune: z
    .int()
    .min(0)
    .max(10_000_000)
    .default(0)
    .describe('steps of fine-tuning on the calibration data, for every model alike, the dense one too; 0 for none'),
  finetuneBatch: batch.describe('windows or images of a step of fine-tuning'),
  finetuneRate: learningRate.describe('learning rate of fine-tuning, at its highest'),
  finetuneTeacher: teacherWeight
    .default(0)
    .describe('share of the divergence from the dense model in the loss of fine-tuning'),
});

/** What these options, and those of the comparison, are to a fine-tuning of any kind of model. */
export function tuningSettings(
  options: z.output<typeof tuningOptionsSchema> & Pick<FinetuneOptions, 'seed' | 'threads'>,
  { name: engine }: EngineChoice,
) {
  const { finetune, finetuneBatch, finetuneRate, finetuneTeacher, seed, threads } = options;
  return {
    steps: finetune,
    batch: finetuneBatch,
    learningRate: finetuneRate,
    teacherWeight: finetuneTeacher,
    seed,
    threads,
    engine,
    // What is kept tells whether a result is there; a run of other settings starts over.
    force: true,
  };
}
