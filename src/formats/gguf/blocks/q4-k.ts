import { halfToFloat } from '../../dtype.js';
import { unpackSixBitScales } from './six-bit-scales.js';

/**
 * Q4_K, 144 bytes for 256 values: d fp16 | dmin fp16 | 12 bytes of scales s and minima m | 128 bytes q.
 * Eight groups of 32 values, value = d s q - dmin m. Bytes 32 g to 32 g + 31 of q hold group 2 g in their low and
 * group 2 g + 1 in their high halves.
 */
export function dequantizeQ4K(bytes: Uint8Array, target: Float32Array): void {
  const scales = new Uint8Array(16);
  for (let source = 0, to = 0; to < target.length; source += 144, to += 256) {
    const d = halfToFloat(bytes, source);
    const dmin = halfToFloat(bytes, source + 2);
    unpackSixBitScales(bytes, source + 4, scales);
    for (let group = 0; group < 8; group++) {
      const scale = d * (scales[group] as number);
      const minimum = dmin * (scales[group + 8] as number);
      const shift = (group & 1) * 4;
      const first = source + 16 + (group >> 1) * 32;
      for (let j = 0; j < 32; j++) {
        const q = ((bytes[first + j] as number) >> shift) & 15;
        target[to + group * 32 + j] = scale * q - minimum;
      }
    }
  }
}
