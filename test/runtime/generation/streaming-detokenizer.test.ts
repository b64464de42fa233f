import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { TextTokenizer } from '../../../src/calibration/tokenizer.js';
import { StreamingDetokenizer } from '../../../src/runtime/generation/streaming-detokenizer.js';
import {
  byteLevelSize,
  byteLevelTokenizer,
  endId,
  sentencePieceSize,
  sentencePieceTokenizer,
} from './tiny-tokenizers.js';

function stream(tokenizer: TextTokenizer, ids: readonly number[], prompt: readonly number[] = []): string[] {
  const detokenizer = new StreamingDetokenizer(tokenizer, prompt);
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.end()];
}

const decode = (tokenizer: TextTokenizer, ids: readonly number[]): string => {
  const known = ids.filter((id) => tokenizer.writesText(id));
  return known.length === 0 ? '' : tokenizer.decode(known);
};

const bytes = (text: string): number[] => [...new TextEncoder().encode(text)];

// Bytes of characters of two to four bytes, whole and broken, come much more often than among all bytes.
const brokenText = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(0xf0, 0x9f, 0x98, 0x80, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0x61, endId) },
  { weight: 1, arbitrary: fc.constantFrom(...bytes('a😀é€')) },
);
const wholeText = fc.string({ unit: fc.constantFrom('a', ' ', 'é', '€', '😀', '👩‍🚀', '\ufffd', '\ufeff') });

describe.each([
  { name: 'byte-level', tokenizer: byteLevelTokenizer(), size: byteLevelSize },
  { name: 'SentencePiece', tokenizer: sentencePieceTokenizer(), size: sentencePieceSize },
])('$name tokens', ({ tokenizer, size }) => {
  const anyIds = fc.array(fc.oneof(brokenText, fc.integer({ min: 257, max: size + 20 })), { maxLength: 80 });

  test('pieces together are the text of all ids', () => {
    fc.assert(
      fc.property(anyIds, (ids) => {
        expect(stream(tokenizer, ids).join('')).toBe(decode(tokenizer, ids));
      }),
      { numRuns: 2000 },
    );
  });

  test('behind a prompt, they are what the ids add to its text', () => {
    fc.assert(
      fc.property(wholeText, anyIds, (text, ids) => {
        const prompt = [...tokenizer.prefix, ...tokenizer.encode(text)];
        const pieces = stream(tokenizer, ids, prompt);
        expect(decode(tokenizer, prompt) + pieces.join('')).toBe(decode(tokenizer, [...prompt, ...ids]));
      }),
      { numRuns: 1000 },
    );
  });

  test('no piece of a whole text holds a part of a character', () => {
    fc.assert(
      fc.property(wholeText, (text) => {
        // Byte by byte: every character comes in parts.
        const pieces = stream(tokenizer, bytes(text), [97]);
        expect(pieces.join('')).toBe(text);
        for (const piece of pieces) {
          expect(new TextDecoder('utf-8', { ignoreBOM: true }).decode(new TextEncoder().encode(piece))).toBe(piece);
          if (!text.includes('\ufffd')) expect(piece).not.toContain('\ufffd');
        }
      }),
    );
  });

  test('an emoji of four tokens comes with the last; one that stays incomplete at the end', () => {
    expect(stream(tokenizer, bytes('a😀b'), [97])).toEqual(['a', '', '', '', '😀', 'b', '']);
    expect(stream(tokenizer, bytes('a😀').slice(0, -1), [97])).toEqual(['a', '', '', '', '\ufffd']);
    expect(stream(tokenizer, [0xf0, 0x9f, 0x61], [97]).join('')).toBe('\ufffda');
  });

  test('special and unknown tokens write nothing, even within a character', () => {
    const [first, ...rest] = bytes('😀') as [number, ...number[]];
    expect(stream(tokenizer, [endId, first, endId, 100_000, ...rest, endId], [97]).join('')).toBe('😀');
  });
});

test('the space before the first word depends on the prompt', () => {
  const tokenizer = sentencePieceTokenizer();
  const word = tokenizer.idOf('▁word') as number;
  expect(stream(tokenizer, [word])).toEqual(['word', '']);
  expect(stream(tokenizer, [word], [257])).toEqual(['word', '']);
  expect(stream(tokenizer, [word], [257, word])).toEqual([' word', '']);
});
