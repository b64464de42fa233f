import { realpathSync } from 'node:fs';
import { isAbsolute, join, relative, sep } from 'node:path';
import { DescriptorPool, PositionalFile, unreadable } from '../positional-file.js';
import { malformed, unsupported } from './errors.js';
import type { TensorProto } from './proto/onnx_pb.js';

/** Where the bytes of a tensor lie outside of its model. */
export interface ExternalRange {
  /** Path below the folder of the model. */
  readonly location: string;
  readonly offset: number;
  /** Undefined: to the end of the file. */
  readonly length: number | undefined;
}

/**
 * The `external_data` entries of a tensor.
 * @param path of the model, for messages.
 * @throws DoubleSparseError `file-malformed`
 */
export function externalRange({ name, externalData }: TensorProto, path: string): ExternalRange {
  const entries = new Map(externalData.map(({ key, value }) => [key, value]));
  const integer = (key: string): number | undefined => {
    const text = entries.get(key);
    if (text === undefined) return undefined;
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value))
      throw malformed(path, `${name}: ${key} of its external data is ${text.slice(0, 40)}`);
    return value;
  };
  const location = entries.get('location');
  if (!location) throw malformed(path, `${name} has external data without a location`);
  return { location, offset: integer('offset') ?? 0, length: integer('length') };
}

/** The files beside a model that hold its large tensors. They are opened when first read. */
export class ExternalFiles {
  readonly #folder: string;
  readonly #pool = new DescriptorPool();
  readonly #files = new Map<string, PositionalFile>();

  /** @param folder of the model; nothing outside of it is read. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Bytes of a range.
   * @param size bytes that there must be.
   * @throws DoubleSparseError `file-unsupported` for a path out of the folder, `file-unreadable`, `file-malformed`.
   */
  read(range: ExternalRange, size: number, name: string): Uint8Array<ArrayBuffer> {
    const file = this.#file(range.location, name);
    if (range.length !== undefined && range.length !== size)
      throw malformed(file.path, `${name} has ${range.length} bytes, its shape needs ${size}`);
    // Before the buffer is made: a lying shape must not take memory.
    if (range.offset + size > file.size)
      throw malformed(file.path, `${name} ends at byte ${range.offset + size}, the file at ${file.size}`);
    const bytes = new Uint8Array(size);
    file.readFully(bytes, range.offset);
    return bytes;
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
  }

  #file(location: string, name: string): PositionalFile {
    const known = this.#files.get(location);
    if (known) return known;
    const refused = () =>
      unsupported(
        this.#folder,
        `${name} has its data in ${JSON.stringify(location)}, which is not a path inside the folder of the model`,
        'put the data beside the model, without links that lead out of the folder',
      );
    if (isAbsolute(location) || location.includes('\0') || location.split(/[\\/]/).includes('..')) throw refused();
    let path: string;
    let folder: string;
    try {
      folder = realpathSync(this.#folder);
      path = realpathSync(join(folder, location));
    } catch (cause) {
      throw unreadable(join(this.#folder, location), cause);
    }
    // A link may lead out of the folder where the name does not.
    const inside = relative(folder, path);
    if (isAbsolute(inside) || inside === '..' || inside.startsWith(`..${sep}`)) throw refused();
    const file = new PositionalFile(path, this.#pool);
    this.#files.set(location, file);
    return file;
  }
}
