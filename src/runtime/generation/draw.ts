import { type Candidates, weights } from './candidates.js';

/**
 * A candidate, drawn with its probability: the first whose cumulative probability exceeds `uniform`.
 * @param uniform in [0, 1).
 */
export function draw(candidates: Candidates, uniform: number): number {
  const all = weights(candidates);
  const target = uniform * all.reduce((sum, weight) => sum + weight, 0);
  // Ends: target is less than the total, which is the same sum in the same order.
  let place = 0;
  for (let sum = all[0] as number; sum <= target; sum += all[place] as number) place++;
  return candidates.ids[place] as number;
}
