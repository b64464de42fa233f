import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeFloats, encodeFloats, type FloatType } from '../../src/formats/dtype.js';
import '../helpers.js';
import { errorOf } from './expect-error.js';

const float = fc.float({ noNaN: true });

function encode(type: 'F16' | 'BF16' | 'F32', values: number[]): Uint8Array {
  const target = new Uint8Array(values.length * (type === 'F32' ? 4 : 2));
  encodeFloats(type, Float32Array.from(values), target);
  return target;
}

/** The two neighbours of x among all finite values of a type, by decoding every bit pattern. */
function allValues(type: FloatType): Float32Array {
  const bits = Uint16Array.from({ length: 65_536 }, (_, i) => i);
  return decodeFloats(type, new Uint8Array(bits.buffer));
}

describe.each(['F16', 'BF16'] as const)('%s', (type) => {
  const values = allValues(type);

  test('every bit pattern survives decoding and encoding', () => {
    const loss = new Uint8Array(2 * values.length);
    expect(encodeFloats(type, values, loss)).toEqual({ overflowed: 0, vanished: 0 });
    expect(decodeFloats(type, loss)).toHaveSameBits(values);
  });

  test('rounds to the nearest value, ties to the even one', () => {
    const positive = values.subarray(0, type === 'F16' ? 0x7c00 : 0x7f80);
    for (let i = 1; i < positive.length; i++) {
      const low = positive[i - 1] as number;
      const high = positive[i] as number;
      const middle = low + (high - low) / 2;
      if (Math.fround(middle) !== middle) continue;
      const even = i % 2 === 0 ? high : low;
      const bits = new Uint32Array(Float32Array.of(middle).buffer)[0] as number;
      const near = new Float32Array(Uint32Array.of(bits - 1, bits, bits + 1).buffer);
      const expected = Float32Array.of(low, even, high, -low, -even, -high);
      const actual = decodeFloats(type, encode(type, [...near, ...near.map((x) => -x)]));
      if (actual.some((x, j) => !Object.is(x, expected[j]))) expect(actual).toHaveSameBits(expected);
    }
  });

  test('reports what overflows and what vanishes', () => {
    const largest = type === 'F16' ? 65_504 : (values[0x7f7f] as number);
    const beyond = type === 'F16' ? 65_520 : Math.fround(3.4e38);
    const tiny = type === 'F16' ? 2 ** -26 : 2 ** -140;
    const input = Float32Array.of(largest, beyond, -beyond, Number.POSITIVE_INFINITY, Number.NaN, 0, -0, tiny, 1);
    const bytes = new Uint8Array(2 * input.length);
    expect(encodeFloats(type, input, bytes)).toEqual({ overflowed: 2, vanished: 1 });
    const infinity = Number.POSITIVE_INFINITY;
    const expected = Float32Array.of(largest, infinity, -infinity, infinity, Number.NaN, 0, -0, 0, 1);
    expect(decodeFloats(type, bytes)).toHaveSameBits(expected);
  });

  test('the error of any value is at most half a unit in the last place', () => {
    fc.assert(
      fc.property(float, (x) => {
        const y = decodeFloats(type, encode(type, [x]))[0] as number;
        if (!Number.isFinite(y)) return;
        const [precision, smallest] = type === 'F16' ? [2 ** -11, 2 ** -25] : [2 ** -8, 2 ** -134];
        expect(Math.abs(y - x)).toBeLessThanOrEqual(Math.max(Math.abs(x) * precision, smallest));
      }),
    );
  });
});

test('F32 is copied', () => {
  fc.assert(
    fc.property(fc.array(fc.float()), (values) => {
      expect(decodeFloats('F32', encode('F32', values))).toHaveSameBits(Float32Array.from(values));
    }),
  );
});

test('lengths must agree', () => {
  errorOf(() => encodeFloats('F16', new Float32Array(2), new Uint8Array(3)), 'shape-mismatch');
  errorOf(() => decodeFloats('F16', new Uint8Array(3)), 'shape-mismatch');
});
