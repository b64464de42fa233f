import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from '../../src/linalg/arena.js';
import { Compute } from '../../src/linalg/compute.js';
import { referenceEngine } from '../../src/linalg/engines/reference.js';
import { binScratchLength, type Kernels, plainKernels } from '../../src/linalg/kernels.js';
import { selectionBoundary } from '../../src/linalg/selection.js';
import { wasmKernels } from '../../src/linalg/wasm-kernels.js';
import { fillRandom } from '../helpers.js';

const arena = new Arena();

/** The specification: sort by magnitude, then by position; keep the first `count`. */
function splitBySorting(x: Float32Array, count: number): { kept: Float32Array; rest: Float32Array } {
  const order = [...x.keys()].sort((i, j) => Math.abs(x[j]!) - Math.abs(x[i]!) || i - j);
  const kept = new Float32Array(x.length);
  const rest = Float32Array.from(x);
  for (const i of order.slice(0, Math.max(0, count))) {
    kept[i] = x[i]!;
    rest[i] = 0;
  }
  return { kept, rest };
}

describe.each<[string, Kernels]>([
  ['plain', plainKernels],
  ['wasm', wasmKernels(arena)],
])('selection with %s kernels', (_, kernels) => {
  function expectExact(values: ArrayLike<number>, count: number): void {
    arena.scope(() => {
      const x = arena.vector(values.length);
      x.set(values);
      const kept = arena.vector(values.length);
      const expected = splitBySorting(x, count);
      const scratch = arena.vector(binScratchLength);
      const bins = new Uint32Array(scratch.buffer, scratch.byteOffset, scratch.length);
      kernels.countMagnitudes(x, bins);
      const { limit, ties } = selectionBoundary(kernels, x, count, bins);
      kernels.split(x, limit, ties, kept);
      expect(kept).toHaveSameBits(expected.kept);
      expect(x).toHaveSameBits(expected.rest);
    });
  }

  it('keeps exactly the largest of anything, ties by position', () => {
    const number = fc.oneof(
      fc.float({ noNaN: true }),
      fc.constantFrom(
        0,
        -0,
        1,
        -1,
        1 + 2 ** -23,
        -1 - 2 ** -23,
        2,
        2 ** -149,
        -(2 ** -149),
        2 ** -148,
        1e-40,
        Infinity,
        -Infinity,
      ),
    );
    const input = fc
      .array(number, { maxLength: 60 })
      .chain((values) => fc.tuple(fc.constant(values), fc.nat(values.length)));
    fc.assert(
      fc.property(input, ([values, count]) => expectExact(values, count)),
      { numRuns: 500, seed: 20 },
    );
  });

  it.each([0, 1, 2, 3, 499, 500, 501, 1001, 1002, 1003])('%d of 1003 random numbers', (count) => {
    expectExact(fillRandom(new Float32Array(1003), 1), count);
  });

  it.each([0, 1, 3, 4, 5, 8, 9])('%d of 9 equal numbers, signs alternating', (count) => {
    expectExact([1, -1, 1, -1, 1, -1, 1, -1, 1], count);
    expectExact(new Float32Array(9), count);
    expectExact(new Float32Array(9).fill(-0.1), count);
  });

  it('tells neighbours in the last bit apart', () => {
    // 200 numbers that agree in their upper 24 bits of 31, so that only the third pass can order them.
    const bits = Uint32Array.from({ length: 200 }, (_, i) => 0x3f800000 + ((i * 37) % 128));
    const values = new Float32Array(bits.buffer);
    for (const count of [1, 2, 63, 64, 100, 127, 128, 199]) expectExact(values, count);
  });

  it('counts below zero and beyond the length keep nothing and everything', () => {
    expectExact([3, 1, 2], -1);
    expectExact([3, 1, 0], 4);
    expectExact([], 0);
    expectExact([], 1);
  });
});

describe('Compute', () => {
  const compute = new Compute(referenceEngine);
  const values = fillRandom(new Float32Array(1003), 1);

  it.each([0, 1, 400, 1003])('splitLargest %d of 1003', (count) => {
    for (const x of [Float32Array.from(values), inArena(values)]) {
      const target = new Float32Array(x.length);
      const expected = splitBySorting(x, count);
      compute.splitLargest(x, count, target);
      expect(target).toHaveSameBits(expected.kept);
      expect(x).toHaveSameBits(expected.rest);
    }
  });

  it.each([0, 1, 400, 1003])('addAndSplitLargest %d of 1003', (count) => {
    const y = fillRandom(inArena(values), 2);
    const x = inArena(values);
    const target = inArena(values);
    const expected = splitBySorting(
      values.map((value, i) => value + y[i]!),
      count,
    );
    compute.addAndSplitLargest(x, y, count, target);
    expect(target).toHaveSameBits(expected.kept);
    expect(x).toHaveSameBits(expected.rest);
  });

  function inArena(source: Float32Array): Float32Array {
    const copy = compute.arena.vector(source.length);
    copy.set(source);
    return copy;
  }
});
