import { halfToFloat } from '../../dtype.js';

/**
 * Q6_K, 210 bytes for 256 values: 128 bytes l | 64 bytes h | 16 signed bytes of scales s | d fp16.
 * Value = d s (q - 32), one scale for 16 values. Each half of 128 values is four groups g of 32: the low four bits of
 * value j of group g are in byte 32 (g mod 2) + j of the half's 64 bytes of l (high half of the byte for g >= 2), the
 * upper two in byte j of its 32 bytes of h, shifted by 2 g.
 */
export function dequantizeQ6K(bytes: Uint8Array, target: Float32Array): void {
  for (let source = 0, to = 0; to < target.length; source += 210, to += 256) {
    const d = halfToFloat(bytes, source + 208);
    for (let part = 0; part < 8; part++) {
      const half = part >> 2;
      const group = part & 3;
      const low = source + half * 64 + (group & 1) * 32;
      const lowShift = (group >> 1) * 4;
      const high = source + 128 + half * 32;
      for (let j = 0; j < 32; j++) {
        const scale = ((bytes[source + 192 + part * 2 + (j >> 4)] as number) << 24) >> 24;
        const q =
          (((bytes[low + j] as number) >> lowShift) & 15) | ((((bytes[high + j] as number) >> (group * 2)) & 3) << 4);
        target[to + part * 32 + j] = d * scale * (q - 32);
      }
    }
  }
}
