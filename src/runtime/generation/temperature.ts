import type { Candidates } from './candidates.js';
import { greedy } from './greedy.js';

/**
 * All tokens, with logits divided by the temperature: softmax(logits / T). The largest is subtracted before the
 * division, so that the smallest temperature does not overflow.
 * @param temperature greater than 0.
 * @throws DoubleSparseError `non-finite-value`, see {@link greedy}
 */
export function temperature(logits: Float32Array, temperature: number): Candidates {
  const largest = logits[greedy(logits)] as number;
  return {
    ids: Uint32Array.from(logits, (_, id) => id),
    logits: Float64Array.from(logits, (logit) => (logit - largest) / temperature),
  };
}
