import { type Candidates, pick, sortByLogit, weigh } from './candidates.js';

/**
 * The fewest of the likeliest candidates that together have at least probability p (Holtzman et al. 2019, "The Curious
 * Case of Neural Text Degeneration"); at least one. 1 keeps all.
 */
export function topP(candidates: Candidates, p: number): Candidates {
  if (p >= 1) return candidates;
  const { weights, total } = weigh(candidates);
  // All that are less likely than (1 - p) / n have less than 1 - p together: none of them is needed.
  const negligible = ((1 - p) * total) / weights.length;
  const places: number[] = [];
  for (let i = 0; i < weights.length; i++) if ((weights[i] as number) >= negligible) places.push(i);
  const sorted = sortByLogit(candidates, places);
  let count = 0;
  for (let sum = 0; sum < p * total && count < sorted.length; count++)
    sum += weights[sorted[count] as number] as number;
  return pick(
    candidates,
    sorted.slice(0, count).sort((a, b) => a - b),
  );
}
