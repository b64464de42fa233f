/** Bytes of one row of a bitmask. On its own: threads of the runtime load it without the rest of the format. */
export function maskStride(columns: number): number {
  return Math.ceil(columns / 8);
}
