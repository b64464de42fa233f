import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from '../../src/linalg/arena.js';
import { binCount, binScratchLength, type Kernels, plainKernels } from '../../src/linalg/kernels.js';
import { wasmKernels } from '../../src/linalg/wasm-kernels.js';
import { fillRandom, unitRoundoff } from '../helpers.js';

const arena = new Arena();
const simd = wasmKernels(arena);

/** Whatever fp32 can hold: ties are frequent among the first, every value is possible among the second. */
const anyNumber = fc.oneof(
  fc.constantFrom(
    0,
    -0,
    1,
    -1,
    0.5,
    -0.5,
    2 ** -149,
    -(2 ** -149),
    2 ** -127,
    2 ** -126,
    3.4028234663852886e38,
    Infinity,
    -Infinity,
    Number.NaN,
  ),
  fc.float(),
);
/** Lengths around multiples of four, the width of a SIMD register. */
const anyLength = fc.integer({ min: 0, max: 37 });
const vectors = (count: number): fc.Arbitrary<Float32Array[]> =>
  anyLength.chain((length) => fc.tuple(...Array.from({ length: count }, () => exactly(length))));
const exactly = (length: number): fc.Arbitrary<Float32Array> =>
  fc.array(anyNumber, { minLength: length, maxLength: length }).map((values) => Float32Array.from(values));

/** Copies of the arrays in the arena, that live until the enclosing scope ends. */
function adopt<T extends Float32Array[]>(arrays: T): T {
  return arrays.map((array) => {
    const copy = arena.vector(array.length);
    copy.set(array);
    return copy;
  }) as T;
}

function adoptBins(): Uint32Array {
  const scratch = arena.vector(binScratchLength);
  return new Uint32Array(scratch.buffer, scratch.byteOffset, scratch.length);
}

/** Runs a kernel of both sets on equal arrays; every array must hold the same bits afterwards. */
function expectSameBits(arrays: Float32Array[], run: (kernels: Kernels, arrays: Float32Array[]) => void): void {
  arena.scope(() => {
    const inside = adopt(arrays);
    run(simd, inside);
    run(plainKernels, arrays);
    for (const [i, array] of arrays.entries()) expect(inside[i]).toHaveSameBits(array);
  });
}

type Arrays = [Float32Array, Float32Array, Float32Array];

describe('wasm kernels equal the plain ones bit by bit', () => {
  it.each<[string, (kernels: Kernels, arrays: Float32Array[]) => void]>([
    ['multiply', (kernels, arrays) => kernels.multiply(...(arrays as Arrays))],
    ['restrict', (kernels, arrays) => kernels.restrict(...(arrays as Arrays))],
    ['multiply in place', (kernels, [x, y]) => kernels.multiply(x!, x!, y!)],
    ['restrict in place', (kernels, [x, y]) => kernels.restrict(x!, x!, y!)],
  ])('%s', (_, run) => {
    fc.assert(fc.property(vectors(3), (arrays) => expectSameBits(arrays, run)));
  });

  it('scaleRows and scaleColumns', () => {
    const side = fc.integer({ min: 1, max: 11 });
    const shapes = fc.tuple(side, side);
    const inputs = shapes.chain(([rows, columns]) =>
      fc.tuple(exactly(rows * columns), exactly(rows), exactly(columns)),
    );
    fc.assert(
      fc.property(inputs, ([x, rowScale, columnScale]) => {
        expectSameBits([new Float32Array(x.length), x, rowScale], (kernels, [target, source, scale]) =>
          kernels.scaleRows(target!, source!, scale!),
        );
        expectSameBits([new Float32Array(x.length), x, columnScale], (kernels, [target, source, scale]) =>
          kernels.scaleColumns(target!, source!, scale!),
        );
        expectSameBits([x, rowScale], (kernels, [inPlace, scale]) => kernels.scaleRows(inPlace!, inPlace!, scale!));
      }),
    );
  });

  it('addAndCount and countMagnitudes', () => {
    fc.assert(
      fc.property(vectors(2), ([x, y]) => {
        arena.scope(() => {
          // No NaN, nor a sum that is one: it may differ in bits that mean nothing, and so fall into another bin.
          for (const array of [x!, y!]) {
            for (let i = 0; i < array.length; i++) if (!(array[i]! > Number.NEGATIVE_INFINITY)) array[i] = 7;
          }
          const [bins, plainBins] = [adoptBins(), new Uint32Array(binScratchLength).fill(9)];
          bins.fill(8);
          const [inside, addend] = adopt([x!, y!]);
          simd.countMagnitudes(inside!, bins);
          plainKernels.countMagnitudes(x!, plainBins);
          expect(bins.subarray(0, binCount)).toHaveSameBits(plainBins.subarray(0, binCount));
          simd.addAndCount(inside!, addend!, bins);
          plainKernels.addAndCount(x!, y!, plainBins);
          expect(inside).toHaveSameBits(x!);
          expect(bins.subarray(0, binCount)).toHaveSameBits(plainBins.subarray(0, binCount));
        });
      }),
    );
  });

  it('countWithinBin and countWithinPrefix, for bins that occur and one that does not', () => {
    fc.assert(
      fc.property(vectors(1), fc.nat(), ([x], pick) => {
        arena.scope(() => {
          const [inside] = adopt([x!]);
          const bits = new Uint32Array(x!.buffer);
          const magnitude = (bits[pick % Math.max(1, bits.length)] ?? 12345678) & 0x7fffffff;
          const [bins, plainBins] = [adoptBins(), new Uint32Array(binScratchLength).fill(9)];
          for (const bin of [magnitude >>> 19, 77]) {
            bins.fill(8);
            simd.countWithinBin(inside!, bin, bins);
            plainKernels.countWithinBin(x!, bin, plainBins);
            expect(bins.subarray(0, binCount)).toHaveSameBits(plainBins.subarray(0, binCount));
          }
          for (const prefix of [magnitude >>> 7, 77777]) {
            bins.fill(8);
            simd.countWithinPrefix(inside!, prefix, bins);
            plainKernels.countWithinPrefix(x!, prefix, plainBins);
            expect(bins.subarray(0, 128)).toHaveSameBits(plainBins.subarray(0, 128));
          }
        });
      }),
    );
  });

  it('split, at limits that occur, with fewer ties than there are, all, and more', () => {
    fc.assert(
      fc.property(vectors(1), fc.nat(), fc.nat({ max: 40 }), ([x], pick, ties) => {
        const bits = new Uint32Array(x!.buffer);
        const limit = (bits[pick % Math.max(1, bits.length)] ?? 0) & 0x7fffffff;
        expectSameBits([x!, new Float32Array(x!.length).fill(3)], (kernels, [t, kept]) =>
          kernels.split(t!, limit, ties, kept!),
        );
      }),
    );
  });
});

describe('wasm kernels equal the plain ones up to rounding', () => {
  it('linearCombination, which the plain kernels round once and SIMD three times', () => {
    for (const length of [0, 1, 3, 4, 5, 1003]) {
      arena.scope(() => {
        const x = fillRandom(arena.vector(length), 1);
        const y = fillRandom(arena.vector(length), 2);
        const target = arena.vector(length);
        const expected = new Float32Array(length);
        for (const [alpha, beta] of [
          [1, 1],
          [1, -1],
          [0.3, 0.7],
          [-2, 1e-3],
        ] as const) {
          simd.linearCombination(target, alpha, x, beta, y);
          plainKernels.linearCombination(expected, alpha, x, beta, y);
          // Each of alpha, beta, two products and the sum is rounded to fp32, at magnitudes up to |alpha| + |beta|.
          expect(target).toBeAllclose(expected, { atol: 3 * unitRoundoff * (Math.abs(alpha) + Math.abs(beta)) });
          simd.linearCombination(x, alpha, x, beta, y);
          expect(x).toHaveSameBits(target);
        }
      });
    }
  });

  it('linearCombination of zeros, denormals and infinities', () => {
    arena.scope(() => {
      const values = [0, -0, 2 ** -149, -(2 ** -127), Infinity, -Infinity, Number.NaN, 3e38, 1];
      const [x, y, target] = adopt([
        Float32Array.from(values),
        Float32Array.from(values).reverse(),
        new Float32Array(9),
      ]);
      const expected = new Float32Array(9);
      for (const [alpha, beta] of [
        [1, 1],
        [1, -1],
        [0, 1],
        [2, 0],
      ] as const) {
        simd.linearCombination(target!, alpha, x!, beta, y!);
        plainKernels.linearCombination(expected, alpha, x!, beta, y!);
        expect(target).toHaveSameBits(expected);
      }
    });
  });

  it('dot, whose four partial sums SIMD adds in another order', () => {
    for (const length of [0, 1, 2, 3, 4, 5, 6, 7, 8, 1001, 4096]) {
      arena.scope(() => {
        const x = fillRandom(arena.vector(length), 1);
        const y = fillRandom(arena.vector(length), 2);
        // fp64 sums of `length` products below one.
        expect(Math.abs(simd.dot(x, y) - plainKernels.dot(x, y))).toBeLessThanOrEqual(length * 2 ** -53);
      });
    }
    arena.scope(() => {
      const [x, y] = adopt([Float32Array.of(1, 2, 3, 4, 5), Float32Array.of(0, 0, Infinity, 0, 0)]);
      expect(simd.dot(x!, y!)).toBe(Infinity);
      expect(simd.dot(y!, Float32Array.of(0, 0, 0, 0, 0))).toBeNaN();
    });
  });
});

it('subtractRows differs from its twin by the order of summation', () => {
  for (const [length, count] of [
    [0, 3],
    [1, 9],
    [7, 8],
    [8, 17],
    [33, 0],
    [33, 7],
  ] as const) {
    arena.scope(() => {
      const stride = length + 3;
      const fill = (n: number, seed: number): Float64Array => {
        const doubles = arena.doubles(n);
        doubles.set(fillRandom(new Float32Array(n), seed));
        return doubles;
      };
      const rows = fill(stride * count, 1);
      const coefficients = fill(count, 2);
      const target = fill(length, 3);
      const expected = target.slice();
      plainKernels.subtractRows(expected, rows, stride, count, coefficients);
      simd.subtractRows(target, rows, stride, count, coefficients);
      // fp64 sums of `count` products below one.
      for (let j = 0; j < length; j++)
        expect(Math.abs((target[j] as number) - (expected[j] as number))).toBeLessThanOrEqual(count * 2 ** -52);
    });
  }
});

it('arrays outside the arena, or only partly inside, are computed all the same', () => {
  arena.scope(() => {
    const inside = arena.vector(5);
    inside.set([1, 2, 3, 4, 5]);
    const outside = Float32Array.of(2, 0, 2, 0, 2);
    const foreign = new Arena().vector(5);
    simd.multiply(foreign, inside, outside);
    expect([...foreign]).toEqual([2, 0, 6, 0, 10]);
    simd.restrict(outside, inside, outside);
    expect([...outside]).toEqual([1, 0, 3, 0, 5]);
    expect(simd.dot(inside, outside)).toBe(35);
    simd.linearCombination(inside, 1, inside, -1, outside);
    expect([...inside]).toEqual([0, 2, 0, 4, 0]);
    const kept = new Float32Array(5);
    simd.split(inside, 0, 0, kept);
    expect([...kept]).toEqual([0, 2, 0, 4, 0]);
    const bins = new Uint32Array(binScratchLength);
    simd.countMagnitudes(inside, bins);
    expect(bins[0]).toBe(5);
  });
});
