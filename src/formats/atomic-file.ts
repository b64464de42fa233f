import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DoubleSparseError } from '../errors.js';
import { isAlive } from './process-alive.js';

/**
 * A file that appears under its name whole or not at all: written to a temporary file in the same folder, flushed to
 * the disk, renamed, and the folder flushed. Every method throws DoubleSparseError `disk-full` or `file-unwritable`,
 * and one that throws has removed the temporary file.
 *
 * Used for small files too: write-file-atomic 7.0.1 does not look at how many bytes were written, and on a disk that
 * becomes full renames a truncated file into place.
 */
export class AtomicFile {
  readonly path: string;
  readonly #temporary: string;
  #descriptor: number | undefined;
  #flushed = false;

  /** Temporary files that dead processes left for the same name are removed. */
  constructor(path: string) {
    this.path = path;
    removeAbandoned(path);
    const unique = `${process.pid}-${randomBytes(6).toString('hex')}`;
    this.#temporary = join(dirname(path), `.${basename(path)}.${unique}.dsf-tmp`);
    this.#descriptor = this.#attempt(() => openSync(this.#temporary, 'wx'));
  }

  /** Writes all of `bytes` at `position`. */
  write(bytes: Uint8Array, position: number): void {
    const descriptor = this.#open();
    for (let done = 0; done < bytes.byteLength; ) {
      done += this.#attempt(() => writeSync(descriptor, bytes, done, bytes.byteLength - done, position + done));
    }
  }

  /** Puts the bytes on the disk and closes the temporary file, so that only the renaming is left. */
  flush(): void {
    if (this.#flushed) return;
    const descriptor = this.#open();
    this.#attempt(() => fsyncSync(descriptor));
    this.#attempt(() => closeSync(descriptor));
    this.#descriptor = undefined;
    this.#flushed = true;
  }

  /** Gives the file its name. @param path another name in the same folder. */
  commit(path: string = this.path): void {
    this.flush();
    this.#attempt(() => renameSync(this.#temporary, path));
    flushFolder(dirname(path));
  }

  /** Removes the temporary file; what had the name before stays. Harmless after a commit. */
  abort(): void {
    if (this.#descriptor !== undefined) {
      try {
        closeSync(this.#descriptor);
      } catch {
        // The first failure is the one to report.
      }
      this.#descriptor = undefined;
    }
    rmSync(this.#temporary, { force: true });
  }

  #open(): number {
    if (this.#descriptor === undefined) throw new Error(`${this.path} is closed`);
    return this.#descriptor;
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (cause) {
      try {
        this.abort();
      } catch {
        // As above.
      }
      throw writeError(this.path, cause);
    }
  }
}

/**
 * Writes a whole file, see {@link AtomicFile}.
 * @throws DoubleSparseError `disk-full`, `file-unwritable`
 */
export function writeFileAtomically(path: string, data: string | Uint8Array): void {
  const file = new AtomicFile(path);
  file.write(typeof data === 'string' ? Buffer.from(data) : data, 0);
  file.commit();
}

/** What the system said about a file that could not be written. */
export function writeError(path: string, cause: unknown): DoubleSparseError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new DoubleSparseError('disk-full', `no space left for ${path}`, {
      data: { path, system: code },
      hint: 'free space on the disk, or write to another one; nothing half-written was left',
      cause,
    });
  }
  return new DoubleSparseError('file-unwritable', `cannot write ${path}: ${(cause as Error).message}`, {
    data: { path, system: code },
    hint: 'check that the folder exists and that you may write to it',
    cause,
  });
}

/** Makes the renamings in a folder last through a power cut, where the system can (not on Windows). */
function flushFolder(folder: string): void {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(folder, 'r');
    fsyncSync(descriptor);
  } catch {
    // The file is there all the same; some file systems cannot flush a folder.
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function removeAbandoned(path: string): void {
  const folder = dirname(path);
  const start = `.${basename(path)}.`;
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    // The attempt to create the file there says it better.
    return;
  }
  for (const name of names) {
    const owner = name.startsWith(start)
      ? /^(\d+)-[0-9a-f]{12}\.dsf-tmp$/.exec(name.slice(start.length))?.[1]
      : undefined;
    if (owner !== undefined && !isAlive(Number(owner))) rmSync(join(folder, name), { force: true });
  }
}
