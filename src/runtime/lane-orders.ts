import { countBits } from '../formats/container/bitmask.js';

/**
 * Where the kernels expect {@link writeLaneOrders} (kernels/lanes.ts): in the first page, whose lower half is for the
 * static data of ../linalg/assembly, which is instantiated in the same memory.
 */
export const laneOrderAddress = 32_768;
/** Bytes of {@link writeLaneOrders}. */
export const laneOrderBytes = 4096 + 256 + 8;

/**
 * Byte shuffles that put packed values into the lanes where a bitmask has bits, and zeros elsewhere: for each byte of a
 * mask the order of eight 16-bit lanes (columns 0, 4, 1, 5, 2, 6,
 * 3, 7), then for each half byte the order of four 32-bit lanes.
 */
export function writeLaneOrders(target: Uint8Array): void {
  write(target.subarray(0, 4096), 256, [0, 4, 1, 5, 2, 6, 3, 7]);
  write(target.subarray(4096, 4352), 16, [0, 1, 2, 3]);
  new DataView(target.buffer, target.byteOffset + 4352).setUint32(0, 0x8fffe000, true);
  new DataView(target.buffer, target.byteOffset + 4356).setUint32(0, 0xffff0000, true);
}

function write(target: Uint8Array, masks: number, columns: readonly number[]): void {
  const width = 16 / columns.length;
  for (let mask = 0; mask < masks; mask++) {
    for (const [lane, column] of columns.entries()) {
      const present = (mask >> column) & 1;
      const rank = countBits(Uint8Array.of(mask & ((1 << column) - 1)));
      // The high bit makes a byte zero.
      for (let byte = 0; byte < width; byte++)
        target[16 * mask + width * lane + byte] = present ? width * rank + byte : 0x80;
    }
  }
}
