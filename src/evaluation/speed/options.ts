import { z } from 'zod';
import { representations } from '../../runtime/representation.js';

/** How speed is measured. Flags of the command line are made from these. */
export const speedOptionsSchema = z.object({
  against: z.string().optional().describe('the dense original: folder, .gguf file, or id in the hub cache'),
  threads: z.int().min(1).max(1024).optional().describe('threads, at most four for each core (default: all cores)'),
  rounds: z.int().min(1).max(1000).default(5).describe('rounds of all models in turns; medians are shown'),
  tokens: z.int().min(1).max(4096).default(64).describe('tokens generated in a round'),
  representation: z
    .enum(representations)
    .optional()
    .describe('how all products of the compressed model run (default: as generate runs them)'),
});
