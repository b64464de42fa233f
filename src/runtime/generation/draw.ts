import { type Candidates, weigh } from './candidates.js';

/**
 * A candidate, drawn with its probability: the first whose cumulative probability exceeds `uniform`.
 * @param uniform in [0, 1).
 */
export function draw(candidates: Candidates, uniform: number): number {
  const { weights, total } = weigh(candidates);
  const target = uniform * total;
  // Ends: target is less than the total, which is the same sum in the same order.
  let place = 0;
  for (let sum = weights[0] as number; sum <= target; sum += weights[place] as number) place++;
  return candidates.ids[place] as number;
}
