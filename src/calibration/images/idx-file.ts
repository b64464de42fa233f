import { constants, gunzipSync } from 'node:zlib';
import { DoubleSparseError } from '../../errors.js';
import { PositionalFile } from '../../formats/positional-file.js';

/** Compressed files are held in memory whole: MNIST's 60,000 training images are 47 MB. */
const maximumCompressedFile = 1 << 30;
/** Deflate expands a thousandfold at most, so that this much makes some megabytes. */
const sniffedBytes = 4096;

/** Bytes of the element types that are read, by their code in the file. */
const elementBytes: Readonly<Record<number, number>> = { 8: 1, 9: 1, 11: 2, 12: 4 };

/** An array of big-endian integers in the IDX format of MNIST, plain or compressed with gzip. */
export class IdxFile {
  readonly path: string;
  /** 8 unsigned byte, 9 signed byte, 11 and 12 signed integers of 16 and 32 bits. */
  readonly type: number;
  readonly shape: readonly number[];
  readonly #file: PositionalFile;
  readonly #start: number;
  /** Of a compressed file. */
  readonly #contents: Uint8Array | undefined;

  /** @throws DoubleSparseError `file-unreadable`, `file-malformed`, `file-unsupported` (floats; too large) */
  constructor(path: string) {
    this.path = path;
    this.#file = new PositionalFile(path);
    try {
      const head = new Uint8Array(Math.min(sniffedBytes, this.#file.size));
      this.#file.readFully(head, 0);
      const compressed = isGzip(head);
      const { type, shape, start } = this.#parseHeader(compressed ? this.#gunzip(head, true) : head);
      this.type = type;
      this.shape = shape;
      this.#start = start;
      const end = shape.reduce((product, size) => product * size, elementBytes[type] as number) + start;
      if (compressed) this.#contents = this.#gunzipAll(end);
      const size = this.#contents?.byteLength ?? this.#file.size;
      if (size !== end) this.#fail(`[${shape}] values need ${end} bytes, it has ${size}`);
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  /** Bytes of one entry of the first dimension. */
  get entryBytes(): number {
    return this.shape.slice(1).reduce((product, size) => product * size, elementBytes[this.type] as number);
  }

  /** The bytes of `count` entries of the first dimension from `first` on. */
  read(first: number, count: number): Uint8Array {
    const bytes = new Uint8Array(count * this.entryBytes);
    const from = this.#start + first * this.entryBytes;
    if (this.#contents) bytes.set(this.#contents.subarray(from, from + bytes.byteLength));
    else this.#file.readFully(bytes, from);
    return bytes;
  }

  close(): void {
    this.#file.close();
  }

  #fail(problem: string, cause?: unknown): never {
    throw new DoubleSparseError('file-malformed', `${this.path} is no IDX file: ${problem}`, {
      data: { path: this.path },
      hint: 'download it again',
      ...(cause !== undefined && { cause }),
    });
  }

  /** Two zero bytes, type, number of dimensions, and the dimensions as 32-bit numbers. */
  #parseHeader(head: Uint8Array): { type: number; shape: number[]; start: number } {
    if (!isIdx(head)) this.#fail('it does not begin with its magic');
    const [type, dimensions] = [head[2] as number, head[3] as number];
    const start = 4 + 4 * dimensions;
    if (dimensions === 0 || head.byteLength < start) this.#fail(`${dimensions} dimensions in ${head.byteLength} bytes`);
    if (elementBytes[type] === undefined) {
      throw new DoubleSparseError('file-unsupported', `${this.path} holds values of IDX type ${type}`, {
        data: { path: this.path, type },
        hint: 'bytes and integers are read; give floats as a .npy file',
      });
    }
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
    return { type, shape: Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i)), start };
  }

  #gunzipAll(size: number): Uint8Array {
    if (size > maximumCompressedFile || this.#file.size > maximumCompressedFile) {
      throw new DoubleSparseError(
        'file-unsupported',
        `${this.path} would take ${size} bytes of memory, at most ${maximumCompressedFile} are allowed`,
        { data: { path: this.path, size, limit: maximumCompressedFile }, hint: 'decompress it first: gunzip' },
      );
    }
    const bytes = new Uint8Array(this.#file.size);
    this.#file.readFully(bytes, 0);
    // One more byte than stated, so that more is noticed.
    return this.#gunzip(bytes, false, size + 1);
  }

  #gunzip(bytes: Uint8Array, partial: boolean, limit?: number): Uint8Array {
    try {
      return gunzipSync(bytes, {
        ...(partial && { finishFlush: constants.Z_SYNC_FLUSH }),
        ...(limit !== undefined && { maxOutputLength: limit }),
      });
    } catch (cause) {
      return this.#fail(`cannot be decompressed (${(cause as Error).message})`, cause);
    }
  }
}

export const isGzip = (head: Uint8Array): boolean => head[0] === 0x1f && head[1] === 0x8b;
export const isIdx = (head: Uint8Array): boolean => head.byteLength >= 4 && head[0] === 0 && head[1] === 0;
