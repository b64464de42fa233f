import { halfToFloat } from '../../dtype.js';

/*
 * Blocks of 32 values with 5 bits each:
 *
 *   Q5_0, 22 bytes: d fp16 | h 4 bytes | 16 bytes q            value = d (q - 16)
 *   Q5_1, 24 bytes: d fp16 | m fp16 | h 4 bytes | 16 bytes q   value = d q + m
 *
 * The low four bits of value j lie as in Q4; bit j of h, little-endian, is its fifth.
 */

export function dequantizeQ5_0(bytes: Uint8Array, target: Float32Array): void {
  for (let source = 0, to = 0; to < target.length; source += 22, to += 32) {
    const d = halfToFloat(bytes, source);
    const high = uint32(bytes, source + 2);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[source + 6 + j] as number;
      target[to + j] = d * (((byte & 15) | (((high >>> j) & 1) << 4)) - 16);
      target[to + j + 16] = d * (((byte >> 4) | (((high >>> (j + 16)) & 1) << 4)) - 16);
    }
  }
}

export function dequantizeQ5_1(bytes: Uint8Array, target: Float32Array): void {
  for (let source = 0, to = 0; to < target.length; source += 24, to += 32) {
    const d = halfToFloat(bytes, source);
    const m = halfToFloat(bytes, source + 2);
    const high = uint32(bytes, source + 4);
    for (let j = 0; j < 16; j++) {
      const byte = bytes[source + 8 + j] as number;
      target[to + j] = d * ((byte & 15) | (((high >>> j) & 1) << 4)) + m;
      target[to + j + 16] = d * ((byte >> 4) | (((high >>> (j + 16)) & 1) << 4)) + m;
    }
  }
}

function uint32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}
