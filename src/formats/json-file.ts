import { DoubleSparseError } from '../errors.js';
import { PositionalFile } from './positional-file.js';

/** What a JSON text may hold. Its parsed form takes tens of bytes a value, so the number of values bounds memory. */
export interface JsonLimits {
  readonly bytes: number;
  readonly depth: number;
  readonly values: number;
}

/** Side files of a checkpoint. The largest tokenizer.json known (262k tokens, 580k merges) has 34 MB and 1.8M values. */
const sideFileLimits: JsonLimits = { bytes: 256e6, depth: 64, values: 20e6 };

/** Values of a JSON text, and members of the outermost object or list with repetitions. */
export interface JsonCounts {
  readonly values: number;
  readonly outermost: number;
}

/**
 * Counts what a JSON text holds without parsing it, so that a hostile one is refused before it takes memory. Not a
 * check of the grammar: JSON.parse does that.
 * @throws RangeError naming the limit that is exceeded.
 */
export function countJson(json: Uint8Array, limits: JsonLimits): JsonCounts {
  if (json.byteLength > limits.bytes) throw new RangeError(`${json.byteLength} bytes, at most ${limits.bytes}`);
  let depth = 0;
  let values = 1;
  let outermost = 0;
  let inside = false;
  for (let i = 0; i < json.byteLength; i++) {
    const byte = json[i] as number;
    if (inside) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inside = false;
      continue;
    }
    if (byte === 0x22) inside = true;
    else if (byte === 0x7b || byte === 0x5b) {
      values++;
      if (++depth > limits.depth) throw new RangeError(`more than ${limits.depth} levels`);
    } else if (byte === 0x7d || byte === 0x5d) depth--;
    else if (byte === 0x2c) {
      if (++values > limits.values) throw new RangeError(`more than ${limits.values} values`);
      if (depth === 1) outermost++;
    }
  }
  return { values, outermost: outermost + 1 };
}

/**
 * Decodes UTF-8 JSON within limits.
 * @param path for messages only.
 * @throws DoubleSparseError `file-malformed`
 */
export function parseJson(json: Uint8Array, path: string, limits: JsonLimits = sideFileLimits): unknown {
  try {
    countJson(json, limits);
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (cause) {
    throw new DoubleSparseError('file-malformed', `${path} is not JSON that we accept: ${(cause as Error).message}`, {
      data: { path },
      cause,
    });
  }
}

/** @throws DoubleSparseError `file-unreadable`, `file-malformed` */
export function readJsonFile(path: string, limits: JsonLimits = sideFileLimits): unknown {
  const file = new PositionalFile(path);
  try {
    if (file.size > limits.bytes) {
      throw new DoubleSparseError(
        'file-malformed',
        `${path} has ${file.size} bytes, at most ${limits.bytes} are allowed`,
        {
          data: { path, size: file.size },
        },
      );
    }
    const bytes = new Uint8Array(file.size);
    file.readFully(bytes, 0);
    return parseJson(bytes, path, limits);
  } finally {
    file.close();
  }
}

/** The JSON object in a file. @throws DoubleSparseError `file-unreadable`, `file-malformed` */
export function readJsonObject(path: string, limits: JsonLimits = sideFileLimits): Readonly<Record<string, unknown>> {
  const value = readJsonFile(path, limits);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new DoubleSparseError('file-malformed', `${path} is not a JSON object`, { data: { path } });
}
