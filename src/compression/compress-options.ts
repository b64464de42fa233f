import { z } from 'zod';
import { calibrationOptionsSchema } from '../calibration/options.js';
import { methodNames } from '../factorization/registry.js';
import { factorizationOptionsSchema } from './layers-options.js';

const patterns = z.array(z.string().min(1));

/** Options of a compression run. Flags of the command line are made from these. */
export const compressOptionsSchema = factorizationOptionsSchema.extend({
  method: z.enum(methodNames).default('double-sparse').describe('how to compress each matrix'),
  calibration: z
    .string()
    .min(1)
    .optional()
    .describe('text to calibrate on: .txt, .jsonl or .parquet (default: the embedded State of the Union addresses)'),
  ...calibrationOptionsSchema.shape,
  sequential: z
    .enum(['block', 'group', 'dense'])
    .default('block')
    .describe(
      'inputs behind what is compressed already, gathered for a block at once, or again after each group of its matrices; or those of the dense model, cheaper but worse',
    ),
  blockSteps: z
    .int()
    .min(0)
    .max(100_000)
    .default(0)
    .describe(
      'steps that bring the attention part and the MLP part of each compressed block closer to those of the dense model; 0 for none',
    ),
  hiddenStatesMemory: z
    .number()
    .min(0)
    .default(1024)
    .describe('MiB of hidden states kept in memory; what takes more goes through files in the run folder'),
  include: patterns.default(['*']).describe('only tensors whose names match one of these'),
  exclude: patterns.default([]).describe('no tensors whose names match one of these'),
  fixedMask: z.boolean().default(false).describe('fix the support of the square factor in advance, one for all layers'),
  force: z.boolean().default(false).describe('replace a model in OUT, and start over a run with other options'),
});
export type CompressOptions = z.output<typeof compressOptionsSchema>;
