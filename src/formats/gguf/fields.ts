import { DoubleSparseError } from '../../errors.js';
import type { MetadataValue } from './metadata.js';

/** Typed access to the metadata of one file. Every method throws `file-malformed` when a value has another type. */
export class Fields {
  readonly path: string;
  readonly #metadata: ReadonlyMap<string, MetadataValue>;

  constructor(path: string, metadata: ReadonlyMap<string, MetadataValue>) {
    this.path = path;
    this.#metadata = metadata;
  }

  malformed(problem: string): DoubleSparseError {
    return new DoubleSparseError('file-malformed', `${this.path}: ${problem}`, {
      data: { path: this.path },
      hint: 'the metadata of the GGUF file is damaged, or its converter is not known to us',
    });
  }

  unsupported(problem: string, hint: string): DoubleSparseError {
    return new DoubleSparseError('file-unsupported', `${this.path}: ${problem}`, { data: { path: this.path }, hint });
  }

  #typed<T>(key: string, type: string, accepts: (value: MetadataValue) => boolean): T | undefined {
    const value = this.#metadata.get(key);
    if (value === undefined) return undefined;
    if (!accepts(value)) throw this.malformed(`${key} is not ${type}`);
    return value as T;
  }

  number(key: string): number | undefined {
    return this.#typed(key, 'a finite number', (value) => Number.isFinite(value));
  }

  /** A positive integer below 2^31, as all sizes of models are. */
  size(key: string): number | undefined {
    const accepts = (value: MetadataValue) =>
      Number.isInteger(value) && (value as number) > 0 && (value as number) < 2 ** 31;
    const value = this.#metadata.get(key);
    // Sizes may be given per block; we read models in which they are all equal.
    if (Array.isArray(value)) {
      if (value.length === 0 || value.some((item) => item !== value[0] || !accepts(item)))
        throw this.unsupported(`${key} differs from block to block: ${value.slice(0, 8).join(', ')}`, 'not supported');
      return value[0];
    }
    return this.#typed(key, 'a positive integer', accepts);
  }

  requiredSize(key: string): number {
    const value = this.size(key);
    if (value === undefined) throw this.malformed(`${key} is missing`);
    return value;
  }

  boolean(key: string): boolean | undefined {
    return this.#typed(key, 'true or false', (value) => typeof value === 'boolean');
  }

  string(key: string): string | undefined {
    return this.#typed(key, 'a string', (value) => typeof value === 'string');
  }

  strings(key: string): readonly string[] | undefined {
    return this.#typed(key, 'a list of strings', (value) => isListOf(value, 'string'));
  }

  numbers(key: string): readonly number[] | undefined {
    return this.#typed(key, 'a list of numbers', (value) => isListOf(value, 'number'));
  }
}

function isListOf(value: MetadataValue, type: 'string' | 'number'): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === type);
}
