import { createHash } from 'node:crypto';
import { extname } from 'node:path';
import { DoubleSparseError } from '../errors.js';
import { jsonLines } from './json-lines.js';
import { parquetTexts } from './parquet-texts.js';
import { plainText } from './plain-text.js';

export interface TextOptions {
  /** Field of JSON lines and column of parquet files that holds the text (default `text`). */
  textField?: string;
  /** Stop after the document in which this many characters are reached (default 2^26). */
  maximumCharacters?: number;
}

/**
 * Bounds time and memory before the first window is drawn: 64 Mi characters take minutes to tokenize, and are 50 times
 * what 128 windows of 2048 tokens need.
 */
const defaultMaximumCharacters = 1 << 26;

/** The documents of a text file. */
export interface Texts {
  readonly path: string;
  /** Not empty; a .txt file is one document. */
  readonly documents: readonly string[];
  readonly characters: number;
  /** Did reading stop at the limit before the end of the file? */
  readonly truncated: boolean;
  /** SHA-256 of the documents, hexadecimal: equal for equal texts in any of the formats. */
  readonly hash: string;
}

/** What the readers of the formats yield: document by document. */
const readers: Readonly<Record<string, (path: string, field: string, limit: number) => AsyncIterable<string>>> = {
  '.txt': (path, _field, limit) => plainText(path, limit),
  '.jsonl': jsonLines,
  '.ndjson': jsonLines,
  '.parquet': parquetTexts,
};

/**
 * Reads the documents of a .txt (one document), .jsonl (an object a line) or .parquet file.
 * @throws DoubleSparseError `file-unsupported` (another extension), `file-unreadable`, `file-malformed`, `not-found`
 * (no such field), `option-out-of-range` (no text in it)
 */
export async function readTexts(path: string, options: TextOptions = {}): Promise<Texts> {
  const { textField = 'text', maximumCharacters = defaultMaximumCharacters } = options;
  const extension = extname(path).toLowerCase();
  const reader = readers[extension];
  if (!reader) {
    throw new DoubleSparseError('file-unsupported', `${path}: texts cannot be read from "${extension}" files`, {
      data: { path, extension },
      hint: `extensions that are read: ${Object.keys(readers).join(', ')}`,
    });
  }
  const documents: string[] = [];
  const hash = createHash('sha256');
  let characters = 0;
  let truncated = false;
  for await (const text of reader(path, textField, maximumCharacters)) {
    if (characters >= maximumCharacters) {
      truncated = true;
      break;
    }
    if (text.length === 0) continue;
    documents.push(text);
    characters += text.length;
    // The length keeps "ab" + "c" apart from "a" + "bc".
    hash.update(`${text.length}:`).update(text);
  }
  if (documents.length === 0) {
    throw new DoubleSparseError('option-out-of-range', `${path} holds no text`, {
      data: { path, characters, documents: 0 },
    });
  }
  return { path, documents, characters, truncated, hash: hash.digest('hex') };
}
