import { z } from 'zod';
import { finetuneOptionsSchema } from '../finetune-options.js';

/** Options of a run over images: those of text and of embeddings have no meaning. */
export const imageFinetuneOptionsSchema = finetuneOptionsSchema
  .omit({ seqLen: true, textField: true, bos: true, keepZeros: true })
  .extend({
    train: z
      .array(z.enum(['linear', 'norms', 'biases']))
      .min(1)
      .default(['linear', 'norms', 'biases']),
    /** Images: the loss on a few of them is too uncertain to choose a step by. */
    validationWindows: z.int().min(1).default(2000),
  });
export type ImageFinetuneOptions = z.output<typeof imageFinetuneOptionsSchema>;
