import { expect } from 'vitest';
import type { Matrix } from '../src/linalg/matrix.js';

/** Unit roundoff of fp32: one operation is off by at most this factor. */
export const unitRoundoff = 2 ** -24;

/** Numbers uniform in [0, 1) that depend on the seed alone (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Fills with numbers uniform in [-1, 1); returns its argument. */
export function fillRandom(target: Float32Array, seed: number): Float32Array {
  const random = seededRandom(seed);
  for (let i = 0; i < target.length; i++) target[i] = 2 * random() - 1;
  return target;
}

/** A rows x columns matrix with entries uniform in [-1, 1), on the ordinary heap or in shared memory. */
export function randomMatrix(
  rows: number,
  columns: number,
  seed: number,
  memory: 'plain' | 'shared' = 'plain',
): Matrix {
  const length = rows * columns;
  const data = memory === 'plain' ? new Float32Array(length) : new Float32Array(new SharedArrayBuffer(length * 4));
  return { rows, columns, data: fillRandom(data, seed) };
}

export interface Tolerance {
  /** Allowed difference as a part of the expected magnitude (default 0). */
  rtol?: number;
  /** Allowed difference beside it (default 0). */
  atol?: number;
}

type NumberArray = Float32Array | Uint32Array;
type Numbers = ArrayLike<number> | Matrix;
const valuesOf = (numbers: Numbers): ArrayLike<number> => ('data' in numbers ? numbers.data : numbers);

function position(index: number, numbers: Numbers): string {
  if (!('data' in numbers)) return `index ${index}`;
  return `row ${Math.floor(index / numbers.columns)}, column ${index % numbers.columns}`;
}

/** The place where the difference exceeds what is allowed by most, and how many exceed it. */
function compare(actual: ArrayLike<number>, expected: ArrayLike<number>, { rtol = 0, atol = 0 }: Tolerance) {
  let worst = { index: -1, difference: 0, excess: Number.NEGATIVE_INFINITY };
  let outside = 0;
  for (let index = 0; index < expected.length; index++) {
    const [x, y] = [actual[index] as number, expected[index] as number];
    // Equal infinities and NaN in both are no difference; NaN in one alone is an infinite one.
    const apart = Object.is(x, y) || x === y ? 0 : Math.abs(x - y);
    const difference = Number.isNaN(apart) ? Number.POSITIVE_INFINITY : apart;
    const excess = difference - (Number.isFinite(y) ? atol + rtol * Math.abs(y) : 0);
    if (excess > 0) outside++;
    if (excess > worst.excess) worst = { index, difference, excess };
  }
  return { worst, outside };
}

expect.extend({
  toBeAllclose(received: Numbers, expected: Numbers, tolerance: Tolerance = {}) {
    const [actual, wanted] = [valuesOf(received), valuesOf(expected)];
    if (actual.length !== wanted.length) {
      return { pass: false, message: () => `expected ${wanted.length} numbers, got ${actual.length}` };
    }
    const { worst, outside } = compare(actual, wanted, tolerance);
    const { rtol = 0, atol = 0 } = tolerance;
    return {
      pass: outside === 0,
      message: () =>
        `${outside} of ${wanted.length} numbers differ by more than atol ${atol} + rtol ${rtol}; ` +
        `the largest difference is ${worst.difference} at ${position(worst.index, expected)}: ` +
        `got ${actual[worst.index]}, expected ${wanted[worst.index]}`,
    };
  },
  toHaveSameBits(received: NumberArray, expected: NumberArray) {
    const index = firstDifferentBits(received, expected);
    return {
      pass: index === -1,
      message: () =>
        index === undefined
          ? `expected ${expected.length} numbers, got ${received.length}`
          : `bits differ first at index ${index}: got ${show(received[index])}, expected ${show(expected[index])}`,
    };
  },
});

const show = (value: number | undefined): string => (Object.is(value, -0) ? '-0' : String(value));

/** -1 if there is no difference, undefined if the lengths differ. All NaN count as one: their bits mean nothing. */
function firstDifferentBits(actual: NumberArray, expected: NumberArray): number | undefined {
  if (actual.length !== expected.length) return undefined;
  for (let i = 0; i < actual.length; i++) if (!Object.is(actual[i], expected[i])) return i;
  return -1;
}

declare module 'vitest' {
  // biome-ignore lint/suspicious/noExplicitAny: the signature of vitest's own interface
  interface Matchers<T = any> {
    /** All differences within atol + rtol * |expected|; failing prints the largest and where it is. */
    toBeAllclose(expected: ArrayLike<number> | Matrix, tolerance?: Tolerance): T;
    /** Equal number by number, zeros by sign too; any NaN equals any other. */
    toHaveSameBits(expected: NumberArray): T;
  }
}
