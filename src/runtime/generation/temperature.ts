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
  const ids = new Uint32Array(logits.length);
  const scaled = new Float64Array(logits.length);
  for (let id = 0; id < logits.length; id++) {
    ids[id] = id;
    scaled[id] = ((logits[id] as number) - largest) / temperature;
  }
  return { ids, logits: scaled };
}
