import { halfToFloat } from '../../dtype.js';

/*
 * Blocks of 32 values with 4 bits each. Source of the layouts of this folder: `block_q*` in
 * https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
 *
 *   Q4_0, 18 bytes: d fp16 | 16 bytes q         value = d (q - 8)
 *   Q4_1, 20 bytes: d fp16 | m fp16 | 16 bytes q   value = d q + m
 *
 * Byte j of q holds value j in its low and value j + 16 in its high half.
 */

export function dequantizeQ4_0(bytes: Uint8Array, target: Float32Array): void {
  for (let source = 0, to = 0; to < target.length; source += 18, to += 32) {
    const d = halfToFloat(bytes, source);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[source + 2 + j] as number;
      target[to + j] = d * ((byte & 15) - 8);
      target[to + j + 16] = d * ((byte >> 4) - 8);
    }
  }
}

export function dequantizeQ4_1(bytes: Uint8Array, target: Float32Array): void {
  for (let source = 0, to = 0; to < target.length; source += 20, to += 32) {
    const d = halfToFloat(bytes, source);
    const m = halfToFloat(bytes, source + 2);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[source + 4 + j] as number;
      target[to + j] = d * (byte & 15) + m;
      target[to + j + 16] = d * (byte >> 4) + m;
    }
  }
}
