import { DoubleSparseError } from '../../errors.js';

/**
 * Id of the largest logit, the lowest of equal ones.
 * @throws DoubleSparseError `non-finite-value` for NaN, infinity, or -infinity everywhere
 */
export function greedy(logits: Float32Array): number {
  let best = -1;
  let largest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number;
    if (logit > largest) {
      largest = logit;
      best = id;
    } else if (Number.isNaN(logit)) throw notFinite(id, logit);
  }
  if (largest === Number.POSITIVE_INFINITY || best < 0) throw notFinite(Math.max(best, 0), largest);
  return best;
}

function notFinite(id: number, value: number): DoubleSparseError {
  return new DoubleSparseError('non-finite-value', `the model gives the logit ${value} for token ${id}`, {
    data: { id, value: String(value) },
    hint: 'its weights are damaged or its activations overflowed; dsf eval tells whether it works on a text',
  });
}
