import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countBits } from '../../../src/formats/container/bitmask.js';
import { packFactor, unpackFactor } from '../../../src/formats/container/packed-factor.js';
import { matrix } from '../../../src/linalg/matrix.js';
import '../../helpers.js';
import { errorOf } from '../expect-error.js';
import { sparseMatrix } from '../tiny-model.js';

const size = fc.integer({ min: 1, max: 40 });

test('the bytes are those of docs/container.md', () => {
  const packed = packFactor(matrix(2, 10, [0, 1, 0, 0, 0, 0, 0, 0, -2, 0, 0.5, 0, 0, 0, 0, 0, 0, 3, 0, 0.25]), 'F16');
  expect([...packed.bitmask]).toEqual([0x02, 0x01, 0x81, 0x02]);
  expect(Buffer.from(packed.values).toString('hex')).toBe('003c00c0003800420034');
  const brain = packFactor(matrix(1, 3, [1, 0, -2]), 'BF16');
  expect(Buffer.from(brain.values).toString('hex')).toBe('803f00c0');
});

test('a matrix of values that the type has comes back', () => {
  fc.assert(
    fc.property(size, size, fc.integer(), fc.float({ min: 0, max: 1, noNaN: true }), (rows, columns, seed, density) => {
      const source = sparseMatrix(rows, columns, seed, density);
      for (const dtype of ['F16', 'BF16', 'F32'] as const) {
        const packed = packFactor(source, dtype);
        expect(packed.vanished).toBe(0);
        expect(unpackFactor(packed).data).toHaveSameBits(source.data);
        const dirty = { rows, columns, data: new Float32Array(rows * columns).fill(7) };
        expect(unpackFactor(packed, dirty).data).toHaveSameBits(source.data);
      }
    }),
  );
});

test('a support stays whole when values vanish', () => {
  const packed = packFactor(matrix(1, 3, [2 ** -30, 0, 1]), 'F16');
  expect(packed.vanished).toBe(1);
  expect(countBits(packed.bitmask)).toBe(2);
  expect([...unpackFactor(packed).data]).toEqual([0, 0, 1]);
});

test('what is not finite is refused, by name', () => {
  expect(errorOf(() => packFactor(matrix(1, 2, [0, Number.NaN]), 'BF16', 'x.A'), 'non-finite-value').message).toBe(
    'x.A holds NaN at row 0, column 1',
  );
  const error = errorOf(() => packFactor(matrix(1, 2, [70_000, 1]), 'F16', 'x.A'), 'non-finite-value');
  expect(error.message).toContain('x.A holds 70000');
  expect(unpackFactor(packFactor(matrix(1, 1, [70_000]), 'BF16')).data[0]).toBe(70_144);
});

test('bitmask and values that disagree are refused', () => {
  const packed = packFactor(matrix(2, 3, [1, 0, 2, 0, 3, 0]), 'F16');
  const [first, second] = packed.bitmask as unknown as [number, number];
  const damaged = [
    { ...packed, bitmask: Uint8Array.of(first | 2, second) },
    { ...packed, bitmask: Uint8Array.of(first & 1, second | 8) },
    { ...packed, bitmask: packed.bitmask.subarray(1) },
    { ...packed, values: packed.values.subarray(2) },
    { ...packed, columns: 9 },
  ];
  for (const factor of damaged) errorOf(() => unpackFactor(factor), 'file-malformed');
});
