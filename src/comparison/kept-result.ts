import { existsSync, rmSync } from 'node:fs';
import { z } from 'zod';
import { differencesOf, type Fingerprint } from '../compression/run-folder.js';
import { DoubleSparseError } from '../errors.js';
import { writeError, writeFileAtomically } from '../formats/atomic-file.js';
import { readJsonFile } from '../formats/json-file.js';
import { type EngineName, engineNames } from '../linalg/engine.js';

const fileSchema = z.object({ fingerprint: z.record(z.string(), z.unknown()), result: z.unknown() });

/** A result in a JSON file of its own, beside the fingerprint of what it depends on. */
export class KeptResult<T> {
  readonly #path: string;
  readonly #fingerprint: Fingerprint;
  #value: T | undefined;

  /**
   * Reads the file, if there is one.
   * @param restart take a result that depends on something else for none, instead of refusing.
   * @throws DoubleSparseError `run-mismatch` naming the differences, `file-malformed`
   */
  constructor(path: string, fingerprint: Fingerprint, schema: z.ZodType<T>, restart: boolean) {
    this.#path = path;
    this.#fingerprint = fingerprint;
    const stored = readFile(path);
    if (stored === undefined) return;
    const differences = differencesOf(stored.fingerprint, fingerprint);
    if (differences.length === 0) {
      const result = schema.safeParse(stored.result);
      if (!result.success) throw malformed(path, result.error);
      this.#value = result.data;
    } else if (!restart) {
      throw new DoubleSparseError('run-mismatch', `${path} is a result of other settings: ${differences.join('; ')}`, {
        data: { path, differences },
        hint: 'repeat the command with the old settings, take another folder, or add --force to compute it anew',
      });
    }
  }

  /** Undefined where it is still to be computed. */
  get value(): T | undefined {
    return this.#value;
  }

  /** @throws DoubleSparseError `disk-full`, `file-unwritable` */
  keep(value: T): T {
    const content = { fingerprint: this.#fingerprint, result: value };
    writeFileAtomically(this.#path, `${JSON.stringify(content, undefined, 2)}\n`);
    this.#value = value;
    return value;
  }

  /** @throws DoubleSparseError `file-unwritable` */
  discard(): void {
    try {
      rmSync(this.#path, { force: true });
    } catch (cause) {
      throw writeError(this.#path, cause);
    }
    this.#value = undefined;
  }
}

/** The engine with which the result in a file was computed. @throws DoubleSparseError `file-malformed` */
export function engineOfResult(path: string): EngineName | undefined {
  const { engine } = readFile(path)?.fingerprint ?? {};
  return engineNames.find((name) => name === engine);
}

function readFile(path: string): z.output<typeof fileSchema> | undefined {
  if (!existsSync(path)) return undefined;
  const parsed = fileSchema.safeParse(readJsonFile(path));
  if (parsed.success) return parsed.data;
  throw malformed(path, parsed.error);
}

function malformed(path: string, cause: z.ZodError): DoubleSparseError {
  return new DoubleSparseError('file-malformed', `${path} is no result of a comparison`, {
    data: { path },
    hint: 'delete this file: what it stands for is computed anew',
    cause,
  });
}
