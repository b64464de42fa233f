import { statSync } from 'node:fs';
import * as zlib from 'node:zlib';
import { brotliDecompressSync, gunzipSync, inflateRawSync } from 'node:zlib';
import {
  asyncBufferFromFile,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet';
import { DoubleSparseError } from '../errors.js';

/** Rows decoded at a time. */
const rowsAtOnce = 4096;

type Decompress = (input: Uint8Array) => Uint8Array;
// Node 22.15 and later.
const zstandard = (zlib as { zstdDecompressSync?: Decompress }).zstdDecompressSync;

/** Snappy is built into hyparquet. */
const compressors: Compressors = {
  GZIP: gunzip,
  BROTLI: (input) => brotliDecompressSync(input),
  ...(zstandard && { ZSTD: (input: Uint8Array) => zstandard(input) }),
};

/** Some writers leave the gzip frame away. */
function gunzip(input: Uint8Array): Uint8Array {
  return input[0] === 0x1f && input[1] === 0x8b ? gunzipSync(input) : inflateRawSync(input);
}

/**
 * The texts of a column of a parquet file, some thousand rows in memory at a time. Nulls are skipped.
 * @throws DoubleSparseError `file-unreadable`, `file-malformed`, `not-found` when there is no such column
 */
export async function* parquetTexts(path: string, column: string): AsyncGenerator<string> {
  try {
    statSync(path);
  } catch (cause) {
    throw new DoubleSparseError('file-unreadable', `cannot read ${path}: ${(cause as Error).message}`, {
      data: { path },
      cause,
    });
  }
  const file = await asyncBufferFromFile(path);
  const metadata = await guarded(path, () => parquetMetadataAsync(file));
  checkColumn(metadata, column, path);
  const rows = Number(metadata.num_rows);
  for (let from = 0; from < rows; from += rowsAtOnce) {
    const range = { rowStart: from, rowEnd: Math.min(rows, from + rowsAtOnce) };
    const records = await guarded(path, () =>
      parquetReadObjects({ file, metadata, columns: [column], compressors, ...range }),
    );
    for (const record of records) {
      const text: unknown = record[column];
      if (typeof text === 'string') yield text;
      else if (text !== null && text !== undefined) {
        throw new DoubleSparseError(
          'file-malformed',
          `${path}: the column "${column}" holds ${typeof text}, not text`,
          {
            data: { path, column },
            hint: 'choose a column of strings with --text-field',
          },
        );
      }
    }
  }
}

function checkColumn(metadata: FileMetaData, column: string, path: string): void {
  const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
  if (columns.includes(column)) return;
  throw new DoubleSparseError('not-found', `${path} has no column "${column}"`, {
    data: { path, column, columns },
    hint: `its columns are ${columns.join(', ')}; choose one with --text-field`,
  });
}

async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new DoubleSparseError('file-malformed', `${path} cannot be read as parquet: ${(cause as Error).message}`, {
      data: { path },
      hint: 'damaged, encrypted, or compressed in a way that we do not know; rewriting it with snappy helps',
      cause,
    });
  }
}
