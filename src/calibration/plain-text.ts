import { closeSync, openSync, readSync } from 'node:fs';
import { DoubleSparseError } from '../errors.js';

/**
 * A UTF-8 file as one document; when it is longer than `limit` characters, a second document holds the next few.
 */
export async function* plainText(path: string, limit: number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const parts: string[] = [];
  let characters = 0;
  for (const chunk of fileChunks(path)) {
    if (characters >= limit) {
      yield parts.join('');
      yield decodeUtf8(decoder, chunk, path);
      return;
    }
    const text = decodeUtf8(decoder, chunk, path);
    parts.push(text);
    characters += text.length;
  }
  yield parts.join('') + decodeUtf8(decoder, undefined, path);
}

/** The next characters of a stream; without a chunk, its end. @throws DoubleSparseError `file-malformed` */
export function decodeUtf8(decoder: TextDecoder, chunk: Uint8Array | undefined, path: string): string {
  try {
    return chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode();
  } catch (cause) {
    throw new DoubleSparseError('file-malformed', `${path} is not UTF-8 text`, {
      data: { path },
      hint: 'convert it, e.g. iconv -f latin1 -t utf-8',
      cause,
    });
  }
}

/** Bytes read at a time. */
const chunkBytes = 1 << 20;

/** A file piece by piece; each piece is overwritten by the next. @throws DoubleSparseError `file-unreadable` */
export function* fileChunks(path: string): Generator<Uint8Array> {
  const unreadable = (cause: unknown): DoubleSparseError =>
    new DoubleSparseError('file-unreadable', `cannot read ${path}: ${(cause as Error).message}`, {
      data: { path },
      cause,
    });
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (cause) {
    throw unreadable(cause);
  }
  try {
    const buffer = new Uint8Array(chunkBytes);
    for (;;) {
      let count: number;
      try {
        count = readSync(descriptor, buffer);
      } catch (cause) {
        throw unreadable(cause);
      }
      if (count === 0) return;
      yield buffer.subarray(0, count);
    }
  } finally {
    closeSync(descriptor);
  }
}
