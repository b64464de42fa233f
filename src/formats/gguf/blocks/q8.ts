import { halfToFloat } from '../../dtype.js';

/** Q8_0, 34 bytes for 32 values: d fp16 | 32 signed bytes q; value = d q. */
export function dequantizeQ8_0(bytes: Uint8Array, target: Float32Array): void {
  for (let source = 0, to = 0; to < target.length; source += 34, to += 32) {
    const d = halfToFloat(bytes, source);
    for (let j = 0; j < 32; j++) target[to + j] = d * (((bytes[source + 2 + j] as number) << 24) >> 24);
  }
}
