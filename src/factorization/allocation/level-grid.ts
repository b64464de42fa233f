import { DoubleSparseError } from '../../errors.js';

/**
 * Sparsities of a layer's levels as in Optimal Brain Compression (arXiv 2208.11580, section 6): every level keeps
 * `keep` of the nonzeros of the level before, sparsity_i = 1 - keep^i, i = 0, 1, ... up to `maximumSparsity`.
 * @param keep 0 < keep < 1 (default 0.9).
 * @param maximumSparsity 0 <= s < 1 (default 0.99: 44 levels).
 * @throws DoubleSparseError `option-out-of-range`
 */
export function levelSparsities({ keep = 0.9, maximumSparsity = 0.99 } = {}): number[] {
  if (!(keep > 0 && keep <= maximumKeep)) throw outOfRange('keep', keep, `above 0, at most ${maximumKeep}`);
  if (!(maximumSparsity >= 0 && maximumSparsity < 1))
    throw outOfRange('maximumSparsity', maximumSparsity, 'from 0 to below 1');
  const sparsities: number[] = [];
  for (let density = 1; 1 - density <= maximumSparsity && density > 0; density *= keep) sparsities.push(1 - density);
  return sparsities;
}

/** Closer levels than these would be a thousand and more of a layer. */
const maximumKeep = 0.999;

function outOfRange(option: string, value: number, range: string): DoubleSparseError {
  return new DoubleSparseError('option-out-of-range', `${option} is ${value}: it must be ${range}`, {
    data: { option, value },
  });
}
