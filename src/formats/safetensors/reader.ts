import { DoubleSparseError } from '../../errors.js';
import { type Matrix, zeros } from '../../linalg/matrix.js';
import { bytesPerFloat, decodeFloats, isFloatType } from '../dtype.js';
import { type DescriptorPool, PositionalFile } from '../positional-file.js';
import { maximumHeaderBytes, parseHeader, type SafetensorsHeader, type TensorInfo } from './header.js';

/** Values decoded at a time: bounds the scratch memory of a conversion. */
const chunkValues = 1 << 20;

/** One safetensors file, opened for positional reads: the header is in memory, tensors are read when asked for. */
export class SafetensorsFile {
  readonly path: string;
  readonly header: SafetensorsHeader;
  readonly #file: PositionalFile;

  /**
   * @param pool shared by the shards of one checkpoint, so that the number of open files stays bounded.
   * @throws DoubleSparseError `file-unreadable` (missing, not a file), `file-malformed` (see {@link parseHeader}).
   */
  constructor(path: string, pool?: DescriptorPool) {
    this.path = path;
    this.#file = new PositionalFile(path, pool);
    try {
      this.header = this.#readHeader();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    this.#file.close();
  }

  /** @throws DoubleSparseError `unknown-name` */
  tensor(name: string): TensorInfo {
    const info = this.header.tensors.get(name);
    if (info) return info;
    throw new DoubleSparseError('unknown-name', `${this.path} has no tensor ${name}`, {
      data: { path: this.path, name },
    });
  }

  /**
   * A float tensor of at most two dimensions as fp32; a vector comes as 1 x n, a scalar as 1 x 1.
   * @param allocate makes the matrix to fill; on the ordinary heap if absent.
   * @throws DoubleSparseError `unknown-name`, `shape-mismatch`, `file-malformed`
   */
  readMatrix(name: string, allocate?: (rows: number, columns: number) => Matrix): Matrix {
    const info = this.tensor(name);
    const { dtype, shape } = info;
    if (shape.length > 2 || !isFloatType(dtype)) {
      throw new DoubleSparseError(
        'shape-mismatch',
        `${this.path}: ${name} is ${dtype} of shape [${shape}], not a matrix or vector of floats`,
        { data: { path: this.path, name, dtype, shape } },
      );
    }
    const columns = shape.at(-1) ?? 1;
    const rows = shape.length === 2 ? (shape[0] as number) : 1;
    const result = allocate?.(rows, columns) ?? zeros(rows, columns);
    const bytes = bytesPerFloat(dtype);
    const buffer = new Uint8Array(Math.min(chunkValues, result.data.length) * bytes);
    for (let from = 0; from < result.data.length; from += chunkValues) {
      const count = Math.min(chunkValues, result.data.length - from);
      const chunk = buffer.subarray(0, count * bytes);
      this.#file.readFully(chunk, info.begin + from * bytes);
      decodeFloats(dtype, chunk, result.data.subarray(from, from + count));
    }
    return result;
  }

  /**
   * The bytes of a tensor as they are in the file, or a part of them.
   * @param from first byte of the part, counted from the start of the tensor.
   * @throws DoubleSparseError `unknown-name`, `shape-mismatch` when the part is not inside, `file-malformed`
   */
  readBytes(name: string, from = 0, length?: number): Uint8Array {
    const info = this.tensor(name);
    const count = length ?? info.end - info.begin - from;
    this.#checkPart(info, name, from, count);
    const bytes = new Uint8Array(count);
    this.#file.readFully(bytes, info.begin + from);
    return bytes;
  }

  /**
   * As {@link readBytes}, into memory of the caller's: `target.length` bytes.
   * @throws DoubleSparseError as {@link readBytes}
   */
  readInto(name: string, target: Uint8Array, from = 0): void {
    const info = this.tensor(name);
    this.#checkPart(info, name, from, target.byteLength);
    this.#file.readFully(target, info.begin + from);
  }

  #checkPart({ begin, end }: TensorInfo, name: string, from: number, count: number): void {
    if (from >= 0 && count >= 0 && begin + from + count <= end) return;
    throw new DoubleSparseError('shape-mismatch', `${this.path}: bytes ${from} to ${from + count} are not in ${name}`, {
      data: { path: this.path, name, from, count, bytes: end - begin },
    });
  }

  #readHeader(): SafetensorsHeader {
    const { size } = this.#file;
    const malformed = (problem: string): DoubleSparseError =>
      new DoubleSparseError('file-malformed', `${this.path}: ${problem}`, {
        data: { path: this.path, fileBytes: size },
        hint: 'the file is damaged or not safetensors; download it again',
      });
    if (size < 8) throw malformed(`${size} bytes are too few for a safetensors file`);
    const prefix = new Uint8Array(8);
    this.#file.readFully(prefix, 0);
    const length = new DataView(prefix.buffer).getBigUint64(0, true);
    if (length > BigInt(maximumHeaderBytes))
      throw malformed(`the header claims ${length} bytes, at most ${maximumHeaderBytes} are allowed`);
    if (8 + Number(length) > size) throw malformed(`the header claims ${length} bytes, the file has ${size}`);
    const json = new Uint8Array(Number(length));
    this.#file.readFully(json, 8);
    return parseHeader(json, this.path, size);
  }
}
