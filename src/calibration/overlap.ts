/** Length of the token runs that are compared: long enough that a run in common is no chance. */
const runLength = 16;

/**
 * The part of the evaluation windows' text that also stands in the calibration windows, 0 to 1: of all runs of 16
 * tokens, how many occur there. Evaluating on the calibration text gives perplexities that are too good.
 */
export function sharedText(calibration: readonly Uint32Array[], evaluation: readonly Uint32Array[]): number {
  const known = new Set<number>();
  for (const ids of calibration) for (const run of runs(ids)) known.add(run);
  let total = 0;
  let shared = 0;
  for (const ids of evaluation) {
    for (const run of runs(ids)) {
      total++;
      if (known.has(run)) shared++;
    }
  }
  return total === 0 ? 0 : shared / total;
}

/** 53-bit hashes of all runs: two runs that differ have the same one with a chance of 10^-5 in a million runs. */
function* runs(ids: Uint32Array): Generator<number> {
  for (let start = 0; start + runLength <= ids.length; start++) {
    let high = 0x811c9dc5;
    let low = 0x9e3779b9;
    for (let i = start; i < start + runLength; i++) {
      const id = ids[i] as number;
      high = Math.imul(high ^ id, 0x01000193);
      high ^= high >>> 15;
      low = Math.imul(low + id, 0x85ebca6b);
      low ^= low >>> 13;
    }
    yield (high >>> 0) * 2 ** 21 + (low >>> 11);
  }
}
