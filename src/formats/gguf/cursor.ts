import { isUtf8 } from 'node:buffer';
import { DoubleSparseError } from '../../errors.js';
import type { PositionalFile } from '../positional-file.js';

const windowBytes = 1 << 20;

/** The longest strings are chat templates (tens of kB); tokens have tens of bytes. */
const maximumStringBytes = 8_000_000;
/** Everything before the tensors: the vocabulary and merges of the largest tokenizers known take under 30 MB. */
const maximumHeaderBytes = 256_000_000;

/** Reads the header of a GGUF file front to back through a window, little-endian, never past the end of the file. */
export class Cursor {
  readonly #file: PositionalFile;
  readonly #limit: number;
  #window = Buffer.alloc(0);
  /** Position in the file of the first byte of the window. */
  #start = 0;
  #position = 0;

  constructor(file: PositionalFile) {
    this.#file = file;
    this.#limit = Math.min(file.size, maximumHeaderBytes);
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#start + this.#position;
  }

  /** Bytes that are left of the file, or of what a header may take. */
  get remaining(): number {
    return this.#limit - this.position;
  }

  /** @throws DoubleSparseError `file-malformed` that says what is wrong at the present position. */
  fail(problem: string): never {
    throw new DoubleSparseError('file-malformed', `${this.#file.path}: byte ${this.position}: ${problem}`, {
      data: { path: this.#file.path, position: this.position },
      hint: 'the file is damaged or not a GGUF model; download it again',
    });
  }

  /** `count` bytes of a buffer that is valid until the next call, and where they start in it. */
  #take(count: number): number {
    if (count > this.remaining) this.fail(`${count} bytes expected, ${this.remaining} are left`);
    if (this.#position + count > this.#window.byteLength) {
      const start = this.position;
      const length = Math.min(Math.max(count, windowBytes), this.#limit - start);
      if (this.#window.byteLength !== length) this.#window = Buffer.alloc(length);
      this.#file.readFully(this.#window, start);
      this.#start = start;
      this.#position = 0;
    }
    const offset = this.#position;
    this.#position += count;
    return offset;
  }

  bytes(count: number): Uint8Array {
    const offset = this.#take(count);
    return new Uint8Array(this.#window.subarray(offset, offset + count));
  }

  uint8(): number {
    const offset = this.#take(1);
    return this.#window.readUInt8(offset);
  }

  uint32(): number {
    const offset = this.#take(4);
    return this.#window.readUInt32LE(offset);
  }

  /** A count, a size or a dimension. @throws DoubleSparseError `file-malformed` beyond 2^53. */
  uint64(what: string): number {
    const offset = this.#take(8);
    const value = this.#window.readBigUInt64LE(offset);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) this.fail(`${what} is ${value}`);
    return Number(value);
  }

  /** A number of metadata values, which the rest of the file must be long enough to hold. */
  count(what: string, maximum: number, bytesEach: number): number {
    const value = this.uint64(`the number of ${what}`);
    if (value > maximum) this.fail(`${value} ${what}, at most ${maximum} are allowed`);
    if (value * bytesEach > this.remaining) this.fail(`${value} ${what} do not fit into ${this.remaining} bytes`);
    return value;
  }

  /** A string with its length before it. @param strict refuses what is not UTF-8 (names), else it is replaced. */
  string(what: string, strict = false): string {
    const length = this.uint64(`the length of ${what}`);
    if (length > maximumStringBytes)
      this.fail(`${what} claims ${length} bytes, at most ${maximumStringBytes} are allowed`);
    const offset = this.#take(length);
    // Buffer, because TextDecoder drops a leading byte order mark, which is a token of some vocabularies.
    const bytes = this.#window.subarray(offset, offset + length);
    if (strict && !isUtf8(bytes)) this.fail(`${what} is not UTF-8`);
    return bytes.toString('utf8');
  }
}
