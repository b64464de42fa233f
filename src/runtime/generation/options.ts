import { z } from 'zod';
import { DoubleSparseError } from '../../errors.js';

/** Longest stop string, and most of them: bounds the work of looking for them behind every token. */
const longestStop = 1000;
const mostStops = 64;

/** A character outside of the basic plane comes in two halves; a stop string that begins within one would split it. */
const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** How the next token is chosen. Flags of the command line are made from these. */
export const samplingOptionsSchema = z.object({
  temperature: z
    .number()
    .min(0)
    .max(100)
    .default(0)
    .describe('what logits are divided by; 0 is greedy: always the likeliest token, the same text every time'),
  topK: z.int().min(0).default(0).describe('choose among the k likeliest tokens; 0 is all'),
  topP: z
    .number()
    .gt(0)
    .max(1)
    .default(1)
    .describe('choose among the fewest tokens that together have this probability; 1 is all'),
  minP: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('choose among tokens with at least this part of the probability of the likeliest; 0 is all'),
  repetitionPenalty: z
    .number()
    .gt(0)
    .max(100)
    .default(1)
    .describe('what the logits of tokens of prompt and text are divided by (multiplied if negative); 1 is none'),
});
export type SamplingOptions = z.output<typeof samplingOptionsSchema>;

export const generationOptionsSchema = samplingOptionsSchema.extend({
  maxTokens: z.int().min(1).default(256).describe('most tokens to generate'),
  seed: z.int().default(0).describe('seed of the choice among tokens: the same seed, the same text'),
  stop: z
    .array(
      z
        .string()
        .min(1, 'a stop string has at least one character')
        .max(longestStop)
        .refine((text) => !loneSurrogate.test(text), 'not a well-formed Unicode string'),
    )
    .max(mostStops)
    .default([])
    .describe('end before this text; may be given several times'),
});
export type GenerationOptions = z.output<typeof generationOptionsSchema>;

/**
 * Options with their defaults.
 * @throws DoubleSparseError `option-out-of-range` naming the option
 */
export function checkGenerationOptions(options: z.input<typeof generationOptionsSchema>): GenerationOptions {
  const result = generationOptionsSchema.safeParse(options);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const option = issue?.path.join('.') ?? '';
  throw new DoubleSparseError('option-out-of-range', `${option}: ${issue?.message}`, { data: { option } });
}
