// On its own: threads of the runtime load it without the rest of the format.

/** Bytes of one row of a bitmask. */
export function maskStride(columns: number): number {
  return Math.ceil(columns / 8);
}

/** Bits that are set in bytes `from` to before `end`. */
export function countBits(bytes: Uint8Array, from = 0, end = bytes.byteLength): number {
  let total = 0;
  for (let i = from; i < end; i++) {
    let bits = bytes[i] as number;
    bits -= (bits >> 1) & 0x55;
    bits = (bits & 0x33) + ((bits >> 2) & 0x33);
    total += (bits + (bits >> 4)) & 0x0f;
  }
  return total;
}
