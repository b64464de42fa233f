/**
 * Makes tokens less likely that have been there: divides their logits by the penalty, multiplies negative ones
 * (Keskar et al. 2019, "CTRL", section 4.1, as transformers applies it).
 * @param seen ids of prompt and generated text; ids beyond the logits are ignored.
 * @param penalty greater than 1 makes repetition rarer, less than 1 more frequent.
 */
export function repetitionPenalty(logits: Float32Array, seen: Iterable<number>, penalty: number): Float32Array {
  if (penalty === 1) return logits;
  const penalized = logits.slice();
  for (const id of seen) {
    if (id >= logits.length) continue;
    const logit = logits[id] as number;
    penalized[id] = logit < 0 ? logit * penalty : logit / penalty;
  }
  return penalized;
}
