import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StopStrings } from '../../../src/runtime/generation/stop-strings.js';

/** All pieces given out, and whether a stop string ended them. */
function stream(
  pieces: readonly string[],
  stops: readonly string[],
): { text: string; given: string[]; found: boolean } {
  const cutter = new StopStrings(stops);
  const given: string[] = [];
  for (const piece of pieces) given.push(cutter.push(piece));
  given.push(cutter.end());
  return { text: given.join(''), given, found: cutter.found };
}

/** The naive way: all the text, then cut where the first stop string begins. */
function cut(text: string, stops: readonly string[]): string {
  const begins = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return begins.length === 0 ? text : text.slice(0, Math.min(...begins));
}

// Two letters: stop strings are frequent, overlap with themselves, and begin within each other.
const letters = (maxLength: number, minLength = 0) =>
  fc.string({ unit: fc.constantFrom('a', 'b', '😀'), minLength, maxLength });

describe('stop strings', () => {
  test('pieces end where the whole text would have been cut', () => {
    fc.assert(
      fc.property(
        fc.array(letters(4), { maxLength: 20 }),
        fc.array(letters(5, 1), { maxLength: 4 }),
        (pieces, stops) => {
          const whole = pieces.join('');
          const { text, found } = stream(pieces, stops);
          expect(text).toBe(cut(whole, stops));
          expect(found).toBe(stops.some((stop) => whole.includes(stop)));
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('nothing is held back that cannot be the beginning of a stop string', () => {
    fc.assert(
      fc.property(
        fc.array(letters(4), { maxLength: 20 }),
        fc.array(letters(5, 1), { maxLength: 3 }),
        (pieces, stops) => {
          const cutter = new StopStrings(stops);
          let [all, given] = ['', ''];
          for (const piece of pieces) {
            all += piece;
            given += cutter.push(piece);
            if (cutter.found) return;
            const held = all.slice(given.length);
            expect(held === '' || stops.some((stop) => stop.length > held.length && stop.startsWith(held))).toBe(true);
          }
        },
      ),
    );
  });

  test('a stop string over several pieces is not given out', () => {
    expect(stream(['Hello', '\n', '\nUs', 'er:', ' more'], ['\n\nUser:'])).toMatchObject({
      text: 'Hello',
      found: true,
    });
    expect(stream(['Hello', '\n', '\nUs', 'ed'], ['\n\nUser:'])).toMatchObject({ text: 'Hello\n\nUsed', found: false });
    expect(stream(['one END two'], ['END'])).toMatchObject({ text: 'one ', found: true });
  });

  test('the one that begins first wins, though another is complete before', () => {
    expect(stream(['xa', 'b', 'c'], ['abc', 'b']).text).toBe('x');
    expect(stream(['xa', 'b', 'd'], ['abc', 'b']).text).toBe('xa');
    expect(stream(['xa', 'b'], ['abc', 'b'])).toMatchObject({ text: 'xa', found: true });
  });

  test('without stop strings every piece comes at once', () => {
    expect(stream(['a', 'b'], []).given).toEqual(['a', 'b', '']);
  });
});
