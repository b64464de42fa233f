import { DoubleSparseError } from '../../errors.js';
import { PositionalFile } from '../../formats/positional-file.js';

/** NumPy's own readers refuse headers above 10,000 characters; those of plain arrays have under 200. */
const maximumHeaderBytes = 65_536;
const maximumDimensions = 32;

/** Element types that are read, by their names in the header, with their size in bytes. */
const elementBytes = {
  '|u1': 1,
  '|i1': 1,
  '<i2': 2,
  '<u2': 2,
  '<i4': 4,
  '<u4': 4,
  '<i8': 8,
  '<f2': 2,
  '<f4': 4,
  '<f8': 8,
} as const;
export type NpyType = keyof typeof elementBytes;

/** An array in NumPy's .npy format, versions 1 to 3, C order, little-endian; read entry by entry of its first dimension. */
export class NpyFile {
  readonly path: string;
  readonly type: NpyType;
  readonly shape: readonly number[];
  readonly #file: PositionalFile;
  readonly #start: number;

  /** @throws DoubleSparseError `file-unreadable`, `file-malformed`, `file-unsupported` (type or order) */
  constructor(path: string) {
    this.path = path;
    this.#file = new PositionalFile(path);
    try {
      const { header, start } = this.#readHeader();
      this.#start = start;
      this.type = this.#typeOf(header);
      this.shape = this.#shapeOf(header);
      const expected = this.shape.reduce((product, size) => product * size, elementBytes[this.type]);
      if (!Number.isSafeInteger(expected) || expected > this.#file.size - start) {
        this.#fail(`[${this.shape}] values of ${this.type} need ${expected} bytes, it has ${this.#file.size - start}`);
      }
    } catch (error) {
      this.#file.close();
      throw error;
    }
  }

  /** Bytes of one entry of the first dimension. */
  get entryBytes(): number {
    return this.shape.slice(1).reduce((product, size) => product * size, elementBytes[this.type]);
  }

  /** The bytes of `count` entries of the first dimension from `first` on. */
  read(first: number, count: number): Uint8Array {
    const bytes = new Uint8Array(count * this.entryBytes);
    this.#file.readFully(bytes, this.#start + first * this.entryBytes);
    return bytes;
  }

  close(): void {
    this.#file.close();
  }

  #fail(problem: string): never {
    throw new DoubleSparseError('file-malformed', `${this.path} is no .npy array: ${problem}`, {
      data: { path: this.path },
      hint: 'write it again with numpy.save',
    });
  }

  /** Magic, version (2 bytes), length of the header (2 bytes, from version 2 on 4), header: a Python dictionary. */
  #readHeader(): { header: string; start: number } {
    if (this.#file.size < 12) this.#fail(`${this.#file.size} bytes`);
    const prefix = Buffer.alloc(12);
    this.#file.readFully(prefix, 0);
    if (prefix.toString('latin1', 0, 6) !== '\x93NUMPY') this.#fail('it does not begin with its magic');
    const version = prefix[6] as number;
    if (version < 1 || version > 3) this.#fail(`version ${version}`);
    const [at, length] = version === 1 ? [10, prefix.readUInt16LE(8)] : [12, prefix.readUInt32LE(8)];
    if (length > maximumHeaderBytes)
      this.#fail(`a header of ${length} bytes, at most ${maximumHeaderBytes} are accepted`);
    if (at + length > this.#file.size) this.#fail('it ends within its header');
    const header = Buffer.alloc(length);
    this.#file.readFully(header, at);
    return { header: header.toString('utf8'), start: at + length };
  }

  #typeOf(header: string): NpyType {
    const order = /['"]fortran_order['"]\s*:\s*(True|False)\b/.exec(header)?.[1];
    if (order === undefined) this.#fail('its header does not state fortran_order');
    const type = /['"]descr['"]\s*:\s*(?:['"]([^'"]{1,64})['"]|\[)/.exec(header);
    if (type === null) this.#fail('its header does not state descr');
    const name = type[1] ?? 'a structure';
    if (order === 'False' && name in elementBytes) return name as NpyType;
    throw new DoubleSparseError(
      'file-unsupported',
      `${this.path} holds ${name}${order === 'True' ? ' in Fortran order' : ''}`,
      {
        data: { path: this.path, type: name },
        hint: `save numpy.ascontiguousarray(array) of type ${Object.keys(elementBytes).join(', ')}`,
      },
    );
  }

  #shapeOf(header: string): number[] {
    const list = /['"]shape['"]\s*:\s*\(([0-9,\s]*)\)/.exec(header)?.[1];
    if (list === undefined) this.#fail('its header does not state shape');
    const sizes = list.split(',').map((part) => part.trim());
    if (sizes.at(-1) === '') sizes.pop();
    if (sizes.length > maximumDimensions) this.#fail(`${sizes.length} dimensions`);
    const shape = sizes.map(Number);
    if (sizes.includes('') || !shape.every(Number.isSafeInteger)) this.#fail(`shape (${list})`);
    return shape;
  }
}
