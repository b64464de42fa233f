import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import { Random } from '../../linalg/random.js';
import type { SquareShare } from './budget.js';

/** What a fixed square factor gets: density 0.1 for a square weight, 0.2 for any other (method.md section 2). */
export function fixedMaskShare(rows: number, columns: number): SquareShare {
  return { density: rows === columns ? 0.1 : 0.2, mostOfBudget: 0.5 };
}

/**
 * The support of a fixed square factor: the identity and random positions, `count` in all, ones in a k x k matrix of
 * the arena. Depends on seed, k and count alone, so that all layers of one shape share it. (The container
 * stores it with each layer all the same.) With a count below k it is the leading part of the identity.
 */
export function fixedMask(k: number, count: number, seed: number, compute: Compute): Matrix {
  const mask = compute.matrix(k, k);
  const random = new Random(seed);
  let left = Math.min(count, k * k);
  for (let i = 0; i < k && left > 0; i++, left--) mask.data[i * k + i] = 1;
  // Floyd's sampling would need a set; at densities up to a half redrawing costs less than two draws each.
  if (left > k * k * 0.5) {
    for (let at = 0; at < mask.data.length && left > 0; at++) {
      if (mask.data[at] !== 0) continue;
      mask.data[at] = 1;
      left--;
    }
    return mask;
  }
  while (left > 0) {
    const at = random.below(k * k);
    if (mask.data[at] !== 0) continue;
    mask.data[at] = 1;
    left--;
  }
  return mask;
}
