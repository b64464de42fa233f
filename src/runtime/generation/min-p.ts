import { type Candidates, pick } from './candidates.js';

/**
 * The candidates with at least `part` of the probability of the likeliest (Nguyen et al. 2024, "Turning Up the Heat:
 * Min-p Sampling"). 0 keeps all.
 */
export function minP(candidates: Candidates, part: number): Candidates {
  if (part === 0) return candidates;
  const { logits } = candidates;
  const places: number[] = [];
  for (let i = 0; i < logits.length; i++) if (Math.exp(logits[i] as number) >= part) places.push(i);
  return pick(candidates, places);
}
