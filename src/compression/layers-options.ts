import { z } from 'zod';
import { efforts } from '../factorization/factorization.js';
import { methodNames } from '../factorization/registry.js';
import { engineNames } from '../linalg/engine.js';

/** Options shared by everything that factorises. Flags of the command line are made from these (cli/flags.ts). */
export const factorizationOptionsSchema = z.object({
  sparsity: z.number().min(0).lt(1).default(0.5).describe('part of the weights to remove, 0 <= s < 1'),
  effort: z.enum(efforts).default('default').describe('how long double-sparse searches'),
  seed: z
    .int()
    .default(0)
    .describe('seed of whatever is random: the choice of calibration data, and methods that draw numbers'),
  threads: z.int().min(1).max(1024).optional().describe('cores to use (default: all)'),
  engine: z
    .enum(['auto', ...engineNames])
    .default('auto')
    .describe('what multiplies matrices; auto takes the fastest'),
});

export const layersOptionsSchema = factorizationOptionsSchema.extend({
  methods: z
    .array(z.enum(methodNames))
    .min(1)
    .default(['double-sparse', 'double-sparse-reference', 'admm', 'sparsegpt', 'wanda', 'magnitude'])
    .describe(`methods to run, separated by commas: ${methodNames.join(', ')}`),
});
export type LayersOptions = z.output<typeof layersOptionsSchema>;
