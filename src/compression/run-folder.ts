import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DoubleSparseError } from '../errors.js';
import { writeError, writeFileAtomically } from '../formats/atomic-file.js';
import { isAlive } from '../formats/process-alive.js';

/** What must agree for a run to go on: everything that its bytes depend on. */
export type Fingerprint = Readonly<Record<string, unknown>>;

/** Folders that this process holds: its own id in a lock may also be that of a dead process, in containers always so. */
const held = new Set<string>();

const runFile = 'run.json';
const lockFile = 'lock';
const eventsFile = 'events.ndjson';

/**
 * The folder of an unfinished run: run.json (fingerprint), a file for each finished product, hidden states behind the
 * last finished block, events.ndjson. Every file is whole or absent, so a run can be killed anywhere. One process at a
 * time: `lock` holds its id.
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
    try {
      mkdirSync(path, { recursive: true });
    } catch (cause) {
      throw writeError(path, cause);
    }
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
      if (differences.length > 0) this.#clear();
      this.resumed = stored !== undefined && differences.length === 0;
      if (!this.resumed) writeFileAtomically(join(path, runFile), `${JSON.stringify(fingerprint, undefined, 2)}\n`);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Where the product of this name is kept. */
  productPath(name: string): string {
    return join(this.path, `${name}.safetensors`);
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

  /** Gives the folder free; what is in it stays. */
  close(): void {
    held.delete(resolve(this.path));
    rmSync(join(this.path, lockFile), { force: true });
  }

  /** Removes the folder of a finished run. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  #lock(): void {
    const path = join(this.path, lockFile);
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        writeFileSync(path, String(process.pid), { flag: 'wx' });
        held.add(resolve(this.path));
        return;
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw writeError(path, cause);
      }
      const owner = Number(readFileSync(path, 'utf8'));
      const alive = owner === process.pid ? held.has(resolve(this.path)) : isAlive(owner);
      if (alive) {
        throw new DoubleSparseError('run-in-use', `${this.path} is in use by process ${owner}`, {
          data: { path: this.path, process: owner },
          hint: `wait for it to end; if it is no run of dsf, delete ${path}`,
        });
      }
      rmSync(path, { force: true });
    }
    throw new DoubleSparseError('run-in-use', `${this.path} was taken by another process`, {
      data: { path: this.path },
    });
  }

  #clear(): void {
    this.close();
    rmSync(this.path, { recursive: true, force: true });
    mkdirSync(this.path, { recursive: true });
    this.#lock();
  }
}

function differencesOf(stored: Fingerprint, wanted: Fingerprint): string[] {
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
