import { z } from 'zod';

/** How calibration windows are taken from a text. Flags of the command line are made from these. */
export const calibrationOptionsSchema = z.object({
  samples: z.int().min(1).max(100_000).default(128).describe('calibration windows'),
  seqLen: z.int().min(2).default(2048).describe("tokens of a window, at most the model's context"),
  textField: z
    .string()
    .min(1)
    .default('text')
    .describe('field of JSON lines, or column of parquet files, with the text'),
  bos: z.boolean().default(false).describe('start every window with the beginning-of-sequence token'),
});
