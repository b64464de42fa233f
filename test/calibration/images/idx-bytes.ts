/** An IDX file: magic, dimensions, data. */
export function idxBytes(type: number, shape: readonly number[], data: Uint8Array): Uint8Array {
  const sizes = Buffer.alloc(4 * shape.length);
  for (const [i, size] of shape.entries()) sizes.writeUInt32BE(size, 4 * i);
  return Buffer.concat([Uint8Array.of(0, 0, type, shape.length), sizes, data]);
}
