import {
  appendFileSync,
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { DoubleSparseError } from '../errors.js';
import { writeError, writeFileAtomically } from '../formats/atomic-file.js';
import { makeFolder } from '../formats/make-folder.js';
import { isAlive } from '../formats/process-alive.js';

/** What must agree for a run to go on: everything that its bytes depend on. */
export type Fingerprint = Readonly<Record<string, unknown>>;

/** Folders that this process holds: its own id in a lock may also be that of a dead process, in containers always so. */
const held = new Set<string>();

const runFile = 'run.json';
const lockFile = 'lock';
const outputFile = 'output';
const eventsFile = 'events.ndjson';

/**
 * The folder of an unfinished run: run.json (fingerprint), a file for each finished product, hidden states behind the
 * last finished block, events.ndjson. Every file but the last is whole or absent, so a run can be killed anywhere. One
 * process at a time: `lock` holds its id.
 */
export class RunFolder {
  readonly path: string;
  /** Did the folder hold this very run already? */
  readonly resumed: boolean;

  /**
   * Opens or makes the folder.
   * @param restart throw away a run with another fingerprint instead of refusing.
   * @throws DoubleSparseError `run-in-use`, `run-mismatch` naming the differences, `file-unwritable`, `disk-full`
   */
  constructor(path: string, fingerprint: Fingerprint, { restart = false }: { restart?: boolean } = {}) {
    this.path = path;
    makeFolder(path);
    this.#lock();
    try {
      const stored = storedFingerprint(path);
      const differences = stored === undefined ? [] : differencesOf(stored, fingerprint);
      if (differences.length > 0 && !restart) {
        throw new DoubleSparseError(
          'run-mismatch',
          `${path} holds an unfinished run with other settings: ${differences.join('; ')}`,
          {
            data: { path, differences },
            hint: 'repeat the command with the old settings to go on, or add --force to start over',
          },
        );
      }
      this.resumed = stored !== undefined && differences.length === 0;
      if (!this.resumed) {
        // run.json goes last and comes first: products are never taken for those of other settings.
        this.#clear();
        writeFileAtomically(join(path, runFile), `${JSON.stringify(fingerprint, undefined, 2)}\n`);
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Where the product of this name is kept. */
  productPath(name: string): string {
    return join(this.path, `${name}.safetensors`);
  }

  /** Where the product of this name is kept after its block was matched. */
  matchedPath(name: string): string {
    return join(this.path, `${name}.matched.safetensors`);
  }

  /** Says that all products of a block are matched, and what that brought. */
  gainsPath(block: number): string {
    return join(this.path, `block-${block}.matched.json`);
  }

  get denseHiddenStatesPath(): string {
    return join(this.path, 'dense-hidden-states.safetensors');
  }

  get hiddenStatesPath(): string {
    return join(this.path, 'hidden-states.safetensors');
  }

  /** Appends a line to events.ndjson: what happened, for whoever finds a dead run. */
  log(event: Readonly<Record<string, unknown>>): void {
    try {
      appendFileSync(join(this.path, eventsFile), `${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`);
    } catch (cause) {
      throw writeError(join(this.path, eventsFile), cause);
    }
  }

  /** As {@link log}; the failure itself matters more than that it could not be noted. */
  logFailure(error: unknown): void {
    try {
      this.log({ event: 'failed', message: error instanceof Error ? error.message : String(error) });
    } catch {
      // A full disk, most likely: what failed says so.
    }
  }

  /** Did this run begin to put its result in place? What is there then is its own. */
  get ownsOutput(): boolean {
    return existsSync(join(this.path, outputFile));
  }

  /** See {@link ownsOutput}. */
  claimOutput(): void {
    writeFileAtomically(join(this.path, outputFile), '');
  }

  /** Gives the folder free; what is in it stays. */
  close(): void {
    if (!held.delete(resolve(this.path))) return;
    if (ownerOf(join(this.path, lockFile)) === process.pid) rmSync(join(this.path, lockFile), { force: true });
  }

  /** Removes the folder of a finished run. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  /** A hard link appears with its content, or not at all. */
  #lock(): void {
    const path = join(this.path, lockFile);
    const own = `${path}.${process.pid}`;
    try {
      writeFileSync(own, String(process.pid));
      for (let attempt = 0; attempt < 2; attempt++) {
        try {
          linkSync(own, path);
          held.add(resolve(this.path));
          return;
        } catch (cause) {
          if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw writeError(path, cause);
        }
        this.#refuseIfAlive(path);
        this.#takeAway(path, own);
      }
    } catch (cause) {
      throw cause instanceof DoubleSparseError ? cause : writeError(path, cause);
    } finally {
      rmSync(own, { force: true });
    }
    const data = { path: this.path };
    throw new DoubleSparseError('run-in-use', `${this.path} was taken by another process`, { data });
  }

  #refuseIfAlive(path: string): void {
    const owner = ownerOf(path);
    if (owner === undefined) return;
    const alive = owner === process.pid ? held.has(resolve(this.path)) : isAlive(owner);
    if (!alive) return;
    throw new DoubleSparseError('run-in-use', `${this.path} is in use by process ${owner}`, {
      data: { path: this.path, process: owner },
      hint: `wait for it to end; if it is no run of dsf, delete ${path}`,
    });
  }

  /** Of two processes that see a dead owner one gets its lock away; the other finds a new one. */
  #takeAway(path: string, own: string): void {
    try {
      renameSync(path, `${own}.dead`);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw cause;
    }
    rmSync(`${own}.dead`, { force: true });
  }

  #clear(): void {
    const names = readdirSync(this.path).filter((name) => name !== lockFile && name !== runFile);
    for (const name of [...names, runFile]) rmSync(join(this.path, name), { recursive: true, force: true });
  }
}

/** The process that a lock names, if there is one. */
function ownerOf(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** What two fingerprints disagree in, in words. */
export function differencesOf(stored: Fingerprint, wanted: Fingerprint): string[] {
  const keys = new Set([...Object.keys(stored), ...Object.keys(wanted)]);
  return [...keys].flatMap((key) => {
    const [before, now] = [JSON.stringify(stored[key]), JSON.stringify(wanted[key])];
    return before === now ? [] : [`${key} was ${before}, now ${now}`];
  });
}

/**
 * The fingerprint of the run in a folder; undefined where there is none.
 * @throws DoubleSparseError `file-malformed`
 */
export function storedFingerprint(folder: string): Fingerprint | undefined {
  const path = join(folder, runFile);
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Fingerprint;
  } catch (cause) {
    const details = { data: { path }, hint: `delete ${folder} to start over`, cause };
    throw new DoubleSparseError('file-malformed', `${path} is not JSON`, details);
  }
}
