import { type Candidates, pick, sortByLogit } from './candidates.js';

/** Bits of an fp32 magnitude that are dropped for its bin: exponent and four bits of the mantissa are left. */
const droppedBits = 19;

/**
 * The k likeliest candidates (Fan et al. 2018, "Hierarchical Neural Story Generation"); among equal ones those with the
 * lowest ids, so that there are k. 0 keeps all.
 */
export function topK(candidates: Candidates, k: number): Candidates {
  const { logits } = candidates;
  if (k === 0 || k >= logits.length) return candidates;
  return pick(
    candidates,
    sortByLogit(candidates, atLeast(logits, k))
      .slice(0, k)
      .sort((a, b) => a - b),
  );
}

/** Places of the k largest logits and of some more, found by counting: only these need to be sorted. */
function atLeast(logits: Float64Array, k: number): number[] {
  // Logits are 0 or less: the bit patterns of their magnitudes rise as they fall.
  const bits = new Uint32Array(Float32Array.from(logits).buffer);
  for (let i = 0; i < bits.length; i++) bits[i]! &= 0x7fffffff;
  const bins = new Uint32Array(1 << (32 - droppedBits));
  for (let i = 0; i < bits.length; i++) bins[(bits[i] as number) >>> droppedBits]!++;
  let last = 0;
  for (let count = bins[0] as number; count < k; count += bins[last] as number) last++;
  const places: number[] = [];
  for (let i = 0; i < bits.length; i++) if ((bits[i] as number) >>> droppedBits <= last) places.push(i);
  return places;
}
