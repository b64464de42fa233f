import { createHash } from 'node:crypto';
import { DoubleSparseError } from '../errors.js';
import { drawDistinct, Random } from '../linalg/random.js';
import type { TextTokenizer } from './tokenizer.js';

/** Token windows of equal length, one after the other what a model is run on. */
export interface TokenWindows {
  readonly windows: readonly Uint32Array[];
  readonly seqLen: number;
  /** Tokens of the text that the windows were taken from. */
  readonly tokens: number;
  /** Do some windows share text, because there was not enough of it? */
  readonly overlap: boolean;
  /** See {@link hashWindows}. */
  readonly hash: string;
}

/** Tokens of all documents, each tokenized by itself, joined without anything between. */
export function encodeDocuments(documents: readonly string[], tokenizer: TextTokenizer): Uint32Array {
  const parts = documents.map((text) => tokenizer.encode(text));
  const joined = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export interface SamplingOptions {
  /** Number of windows. */
  samples: number;
  /** Tokens of each, the BOS included. */
  seqLen: number;
  seed: number;
  /** Put before the text of each window, if given. */
  bosId?: number | undefined;
}

/**
 * Windows from random places of a text, a function of ids and options alone. They do not overlap where the text is
 * long enough for that; else their starts are drawn independently. Takes no longer for a hostile text than for another.
 * @throws DoubleSparseError `option-out-of-range` when there are fewer places than samples
 */
export function sampleWindows(ids: Uint32Array, { samples, seqLen, seed, bosId }: SamplingOptions): TokenWindows {
  const length = textLength(seqLen, bosId);
  const places = ids.length - length + 1;
  if (places < samples) throw tooShort(ids.length, length, samples);
  const random = new Random(seed);
  const slots = Math.floor(ids.length / length);
  const overlap = slots < samples;
  let starts: number[];
  if (overlap) starts = Array.from({ length: samples }, () => random.below(places));
  else {
    // A random shift of the grid of slots lets every token be drawn, the tail included.
    const shift = random.below(ids.length - slots * length + 1);
    starts = drawDistinct(slots, samples, random).map((slot) => shift + slot * length);
  }
  return windowsAt(ids, starts, seqLen, bosId, overlap);
}

export interface ConsecutiveOptions {
  /** Tokens of each window, the BOS included. */
  seqLen: number;
  /** At most this many windows (default: all that the text fills). */
  windows?: number | undefined;
  /** Put before the text of each window, if given. */
  bosId?: number | undefined;
}

/**
 * Windows side by side from the first token on; what does not fill a window is left away.
 * @throws DoubleSparseError `option-out-of-range` when the text does not fill one
 */
export function consecutiveWindows(ids: Uint32Array, { seqLen, windows, bosId }: ConsecutiveOptions): TokenWindows {
  const length = textLength(seqLen, bosId);
  const count = Math.min(windows ?? Number.POSITIVE_INFINITY, Math.floor(ids.length / length));
  if (count < 1) throw tooShort(ids.length, length, 1);
  const starts = Array.from({ length: count }, (_, window) => window * length);
  return windowsAt(ids, starts, seqLen, bosId, false);
}

/** SHA-256 over number, length and ids (little-endian 32-bit) of windows, hexadecimal: for fingerprints. */
export function hashWindows(windows: readonly Uint32Array[]): string {
  const hash = createHash('sha256').update(`windows ${windows.length}`);
  for (const ids of windows) {
    const bytes = new DataView(new ArrayBuffer(4 * ids.length));
    for (const [i, id] of ids.entries()) bytes.setUint32(4 * i, id, true);
    hash.update(` ${ids.length} `).update(bytes);
  }
  return hash.digest('hex');
}

/** Tokens of text in a window. */
function textLength(seqLen: number, bosId: number | undefined): number {
  const length = bosId === undefined ? seqLen : seqLen - 1;
  if (Number.isInteger(seqLen) && seqLen >= 2) return length;
  throw new DoubleSparseError('option-out-of-range', `windows of ${seqLen} tokens: at least 2 are needed`, {
    data: { option: 'seqLen', value: seqLen },
  });
}

function windowsAt(
  ids: Uint32Array,
  starts: readonly number[],
  seqLen: number,
  bosId: number | undefined,
  overlap: boolean,
): TokenWindows {
  const windows = starts.map((start) => {
    if (bosId === undefined) return ids.slice(start, start + seqLen);
    const window = new Uint32Array(seqLen);
    window[0] = bosId;
    window.set(ids.subarray(start, start + seqLen - 1), 1);
    return window;
  });
  return { windows, seqLen, tokens: ids.length, overlap, hash: hashWindows(windows) };
}

function tooShort(tokens: number, length: number, samples: number): DoubleSparseError {
  return new DoubleSparseError(
    'option-out-of-range',
    `the text has ${tokens} tokens, too few for ${samples} different windows of ${length}`,
    {
      data: { tokens, needed: length + samples - 1, seqLen: length, samples },
      hint:
        samples > 1
          ? 'take a longer text, fewer --samples, or a smaller --seq-len'
          : 'take a longer text, or a smaller --seq-len',
    },
  );
}
