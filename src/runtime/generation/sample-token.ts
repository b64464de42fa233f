import type { Random } from '../../linalg/random.js';
import { draw } from './draw.js';
import { greedy } from './greedy.js';
import { minP } from './min-p.js';
import type { SamplingOptions } from './options.js';
import { repetitionPenalty } from './repetition-penalty.js';
import { temperature } from './temperature.js';
import { topK } from './top-k.js';
import { topP } from './top-p.js';

/**
 * The next token: repetition penalty, temperature, top-k, top-p, min-p, draw, in the order of transformers. Each
 * filter sees the probabilities of what the one before it kept. At temperature 0 the likeliest, and nothing is drawn.
 * @param logits of all tokens (vocabularySize).
 * @param seen ids of prompt and generated text.
 * @throws DoubleSparseError `non-finite-value`, see {@link greedy}
 */
export function sampleToken(
  logits: Float32Array,
  seen: Iterable<number>,
  options: SamplingOptions,
  random: Random,
): number {
  const penalized = repetitionPenalty(logits, seen, options.repetitionPenalty);
  if (options.temperature === 0) return greedy(penalized);
  const all = temperature(penalized, options.temperature);
  return draw(minP(topP(topK(all, options.topK), options.topP), options.minP), random.uniform());
}
