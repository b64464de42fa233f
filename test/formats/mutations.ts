import fc from 'fast-check';

/** Numbers that break arithmetic: around zero and the limits of 8, 16, 31, 32, 53 and 64 bits. */
const evilNumbers = [0, 1, 7, 255, 65_535, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 53 - 1]
  .map(BigInt)
  .concat(2n ** 53n, 2n ** 60n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n);

/** Copies of `bytes` with a few bytes changed, a number put in place of eight bytes, or the end cut off. */
export function mutationsOf(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  const position = fc.nat(bytes.byteLength - 1);
  const change: fc.Arbitrary<(copy: Buffer) => Buffer> = fc.oneof(
    fc.tuple(position, fc.integer({ min: 0, max: 255 })).map(([at, value]) => (copy: Buffer): Buffer => {
      copy[at] = value;
      return copy;
    }),
    fc.tuple(position, fc.constantFrom(...evilNumbers)).map(([at, value]) => (copy: Buffer): Buffer => {
      if (at + 8 <= copy.byteLength) copy.writeBigUInt64LE(value, at);
      return copy;
    }),
    fc.tuple(position, fc.constantFrom(...evilNumbers)).map(([at, value]) => (copy: Buffer): Buffer => {
      if (at + 4 <= copy.byteLength) copy.writeUInt32LE(Number(value & 0xffffffffn), at);
      return copy;
    }),
  );
  const changes = fc.array(change, { minLength: 1, maxLength: 4 });
  return fc.oneof<fc.WeightedArbitrary<Uint8Array>[]>(
    {
      weight: 6,
      arbitrary: changes.map((list) => list.reduce<Buffer>((copy, edit) => edit(copy), Buffer.from(bytes))),
    },
    { weight: 1, arbitrary: position.map((end) => bytes.slice(0, end)) },
  );
}
