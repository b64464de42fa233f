import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { DoubleSparseError } from '../errors.js';

/** Shards of one checkpoint open at a time; a 70B checkpoint has about 30, a limit of 256 per process is common. */
const defaultOpenFiles = 16;

/** Open descriptors of one reader: at most `limit`, the one not used for the longest time is closed first. */
export class DescriptorPool {
  readonly limit: number;
  readonly #open = new Map<PositionalFile, number>();

  constructor(limit = defaultOpenFiles) {
    this.limit = limit;
  }

  /** Descriptors open now. */
  get size(): number {
    return this.#open.size;
  }

  /** The descriptor of `file`, opened again if it was closed meanwhile. */
  descriptor(file: PositionalFile, open: () => number): number {
    const known = this.#open.get(file);
    // A Map keeps the order of insertion: the first is the one not used for the longest time.
    this.#open.delete(file);
    const descriptor = known ?? open();
    this.#open.set(file, descriptor);
    while (this.#open.size > this.limit) this.release(this.#open.keys().next().value as PositionalFile);
    return descriptor;
  }

  release(file: PositionalFile): void {
    const descriptor = this.#open.get(file);
    this.#open.delete(file);
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** A regular file read at positions. Its descriptor belongs to the pool, which may close and open it again. */
export class PositionalFile {
  readonly path: string;
  /** Size when it was first opened. */
  readonly size: number;
  readonly #pool: DescriptorPool;
  readonly #modified: number;

  /** @throws DoubleSparseError `file-unreadable` (missing, no permission, not a regular file). */
  constructor(path: string, pool: DescriptorPool = new DescriptorPool()) {
    this.path = path;
    this.#pool = pool;
    const descriptor = pool.descriptor(this, () => this.#open());
    try {
      const status = fstatSync(descriptor);
      if (!status.isFile()) {
        throw new DoubleSparseError('file-unreadable', `${path} is not a file`, { data: { path } });
      }
      this.size = status.size;
      this.#modified = status.mtimeMs;
    } catch (error) {
      pool.release(this);
      throw error;
    }
  }

  /**
   * Fills `target` from `position`.
   * @throws DoubleSparseError `file-malformed` when the file ends before or has changed since it was opened,
   *   `file-unreadable` when the system cannot read it.
   */
  readFully(target: Uint8Array, position: number): void {
    const descriptor = this.#pool.descriptor(this, () => this.#reopen());
    for (let done = 0; done < target.byteLength; ) {
      let count: number;
      try {
        count = readSync(descriptor, target, done, target.byteLength - done, position + done);
      } catch (cause) {
        throw unreadable(this.path, cause);
      }
      if (count === 0) {
        throw new DoubleSparseError(
          'file-malformed',
          `${this.path} ends at byte ${position + done}, ${target.byteLength - done} more were expected`,
          {
            data: { path: this.path, position: position + done },
            hint: 'the file changed while it was read, or is truncated; download it again',
          },
        );
      }
      done += count;
    }
  }

  close(): void {
    this.#pool.release(this);
  }

  #open(): number {
    try {
      // Without O_NONBLOCK (absent on Windows) a named pipe with no writer would block the process for ever.
      return openSync(this.path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    } catch (cause) {
      throw unreadable(this.path, cause);
    }
  }

  #reopen(): number {
    const descriptor = this.#open();
    const status = fstatSync(descriptor);
    if (status.size === this.size && status.mtimeMs === this.#modified) return descriptor;
    closeSync(descriptor);
    throw new DoubleSparseError('file-malformed', `${this.path} has changed since it was opened`, {
      data: { path: this.path, size: this.size, sizeNow: status.size },
      hint: 'let nothing write to a checkpoint while it is read',
    });
  }
}

/** What the system said about a file or folder that could not be read. */
export function unreadable(path: string, cause: unknown): DoubleSparseError {
  return new DoubleSparseError('file-unreadable', `cannot read ${path}: ${(cause as Error).message}`, {
    data: { path },
    cause,
  });
}
