/** Index of the first NaN or infinity, or -1. */
export function firstNonFinite(values: Float32Array): number {
  // A chunk of numbers times zero sums to zero unless one of them is not finite.
  const chunk = 4096;
  for (let from = 0; from < values.length; from += chunk) {
    const to = Math.min(values.length, from + chunk);
    let sum = 0;
    for (let i = from; i < to; i++) sum += (values[i] as number) * 0;
    if (sum === 0) continue;
    for (let i = from; i < to; i++) if (!Number.isFinite(values[i])) return i;
  }
  return -1;
}
