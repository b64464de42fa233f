import { z } from 'zod';

/** How perplexity is measured. Flags of the command line are made from these. */
export const evaluationOptionsSchema = z.object({
  seqLen: z.int().min(2).default(2048).describe("tokens of a window, at most the model's context"),
  windows: z.int().min(1).optional().describe('windows from the start of the text (default: all that it fills)'),
  bos: z.boolean().default(false).describe('start every window with the beginning-of-sequence token'),
});
