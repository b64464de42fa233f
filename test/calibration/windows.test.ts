import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sharedText } from '../../src/calibration/overlap.js';
import { consecutiveWindows, hashWindows, sampleWindows } from '../../src/calibration/windows.js';
import { errorOf } from '../formats/expect-error.js';

/** Token i is i: a window then tells where it comes from. */
const counting = (length: number): Uint32Array => Uint32Array.from({ length }, (_, i) => i);

describe('sampleWindows', () => {
  test('is runs of the text, no two of them overlapping where it is long enough', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 40 }),
        fc.integer({ min: 1, max: 30 }),
        fc.nat(500),
        fc.nat(),
        (seqLen, samples, extra, seed) => {
          const ids = counting(seqLen * samples + extra);
          const { windows, overlap, tokens } = sampleWindows(ids, { samples, seqLen, seed });
          expect(overlap).toBe(false);
          expect(tokens).toBe(ids.length);
          expect(windows).toHaveLength(samples);
          const seen = new Set<number>();
          for (const window of windows) {
            expect(window).toEqual(counting(seqLen).map((i) => i + (window[0] as number)));
            for (const id of window) seen.add(id);
          }
          expect(seen.size).toBe(samples * seqLen);
          expect(Math.max(...seen)).toBeLessThan(ids.length);
        },
      ),
    );
  });

  test('depends on the seed, and on nothing else', () => {
    const options = { samples: 8, seqLen: 16 };
    const first = sampleWindows(counting(1000), { ...options, seed: 1 });
    expect(sampleWindows(counting(1000), { ...options, seed: 1 })).toEqual(first);
    expect(sampleWindows(counting(1000), { ...options, seed: 2 }).hash).not.toBe(first.hash);
  });

  test('every token can be drawn', () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 300; seed++) {
      for (const window of sampleWindows(counting(25), { samples: 1, seqLen: 10, seed }).windows) {
        for (const id of window) seen.add(id);
      }
    }
    expect(seen.size).toBe(25);
  });

  test('windows overlap, and say so, where the text is short', () => {
    const { windows, overlap } = sampleWindows(counting(40), { samples: 20, seqLen: 10, seed: 0 });
    expect(overlap).toBe(true);
    expect(windows).toHaveLength(20);
    for (const window of windows) expect(window[9]).toBe((window[0] as number) + 9);
  });

  test('a BOS takes a place in every window', () => {
    const { windows } = sampleWindows(
      counting(100).map((i) => i + 1000),
      { samples: 5, seqLen: 10, seed: 0, bosId: 7 },
    );
    for (const window of windows) {
      expect(window).toHaveLength(10);
      expect(window[0]).toBe(7);
      expect(window[9]).toBe((window[1] as number) + 8);
    }
  });

  test('too short a text is refused with the counts', () => {
    const error = errorOf(
      () => sampleWindows(counting(2050), { samples: 128, seqLen: 2048, seed: 0 }),
      'option-out-of-range',
    );
    expect(error.data).toMatchObject({ tokens: 2050, needed: 2175, samples: 128 });
    errorOf(() => sampleWindows(counting(0), { samples: 1, seqLen: 8, seed: 0 }), 'option-out-of-range');
    errorOf(() => sampleWindows(counting(10), { samples: 1, seqLen: 1, seed: 0 }), 'option-out-of-range');
  });
});

describe('consecutiveWindows', () => {
  test('from the first token on, without the rest', () => {
    const { windows, seqLen } = consecutiveWindows(counting(35), { seqLen: 10 });
    expect(seqLen).toBe(10);
    expect(windows.map((window) => window[0])).toEqual([0, 10, 20]);
    expect(consecutiveWindows(counting(35), { seqLen: 10, windows: 2 }).windows).toHaveLength(2);
    expect(consecutiveWindows(counting(35), { seqLen: 10, windows: 9 }).windows).toHaveLength(3);
  });

  test('with BOS the text goes on without a gap', () => {
    const { windows } = consecutiveWindows(counting(30), { seqLen: 10, bosId: 99 });
    expect(windows.map((window) => [window[0], window[1], window[9]])).toEqual([
      [99, 0, 8],
      [99, 9, 17],
      [99, 18, 26],
    ]);
  });

  test('a text that does not fill a window is refused', () => {
    const error = errorOf(() => consecutiveWindows(counting(9), { seqLen: 10 }), 'option-out-of-range');
    expect(error.data).toMatchObject({ tokens: 9, seqLen: 10 });
  });
});

test('the hash tells ids, order and lengths apart', () => {
  const of = (...windows: number[][]): string => hashWindows(windows.map((ids) => Uint32Array.from(ids)));
  const hashes = [
    of([1, 2], [3, 4]),
    of([3, 4], [1, 2]),
    of([1, 2, 3, 4]),
    of([1], [2, 3, 4]),
    of([1, 2], [3, 5]),
    of(),
  ];
  expect(new Set(hashes).size).toBe(hashes.length);
  expect(of([1, 2], [3, 4])).toBe(hashes[0]);
});

test('sharedText is the part of the evaluation text that calibration has seen', () => {
  const ids = counting(4000);
  const calibration = [ids.subarray(0, 1000)];
  expect(sharedText(calibration, [ids.subarray(2000, 3000)])).toBe(0);
  expect(sharedText(calibration, [ids.subarray(100, 900)])).toBe(1);
  expect(sharedText(calibration, [ids.subarray(500, 1500)])).toBeCloseTo(0.5, 1);
  expect(sharedText(calibration, [ids.subarray(0, 3)])).toBe(0);
});
