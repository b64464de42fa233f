/**
 * The 8 scales and 8 minima of Q4_K and Q5_K, six bits each, in 12 bytes: for j < 4 the low six bits of bytes j and
 * j + 4; for j >= 4 the halves of byte j + 4, with the top two bits of bytes j - 4 and j above them.
 * @param target receives scale 0 to 7, then minimum 0 to 7.
 */
export function unpackSixBitScales(bytes: Uint8Array, at: number, target: Uint8Array): void {
  for (let j = 0; j < 4; j++) {
    const scale = bytes[at + j] as number;
    const minimum = bytes[at + 4 + j] as number;
    const both = bytes[at + 8 + j] as number;
    target[j] = scale & 63;
    target[j + 8] = minimum & 63;
    target[j + 4] = (both & 15) | ((scale >> 6) << 4);
    target[j + 12] = (both >> 4) | ((minimum >> 6) << 4);
  }
}
