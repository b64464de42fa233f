import { halfToFloat } from '../../dtype.js';
import { unpackSixBitScales } from './six-bit-scales.js';

/**
 * Q5_K, 176 bytes for 256 values: d fp16 | dmin fp16 | 12 bytes of scales s and minima m | 32 bytes h | 128 bytes q.
 * As Q4_K, and bit g of byte j of h is the fifth bit of value j of group g.
 */
export function dequantizeQ5K(bytes: Uint8Array, target: Float32Array): void {
  const scales = new Uint8Array(16);
  for (let source = 0, to = 0; to < target.length; source += 176, to += 256) {
    const d = halfToFloat(bytes, source);
    const dmin = halfToFloat(bytes, source + 2);
    unpackSixBitScales(bytes, source + 4, scales);
    for (let group = 0; group < 8; group++) {
      const scale = d * (scales[group] as number);
      const minimum = dmin * (scales[group + 8] as number);
      const shift = (group & 1) * 4;
      const first = source + 48 + (group >> 1) * 32;
      for (let j = 0; j < 32; j++) {
        const high = ((bytes[source + 16 + j] as number) >> group) & 1;
        const q = (((bytes[first + j] as number) >> shift) & 15) | (high << 4);
        target[to + group * 32 + j] = scale * q - minimum;
      }
    }
  }
}
