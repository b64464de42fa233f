import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DoubleSparseError } from '../../errors.js';
import { writeError, writeFileAtomically } from '../atomic-file.js';
import type { EncodingLoss } from '../dtype.js';
import { makeFolder } from '../make-folder.js';
import { type PlannedTensor, tensorBytes } from './layout.js';
import { indexFileName, singleFileName } from './shards.js';
import { SafetensorsWriter } from './writer.js';

/** As transformers: shards of at most 5 GB. */
const defaultShardBytes = 5e9;

/** Tensors that must be in the same shard. */
export interface TensorGroup {
  readonly tensors: readonly PlannedTensor[];
}

export interface ShardedWriterOptions {
  /** Largest shard in bytes of tensors; a group that is larger gets a shard of its own. Default 5 GB. */
  readonly maximumShardBytes?: number;
  /** `__metadata__` of the shard with these groups (indices); default { format: "pt" }, which transformers wants. */
  readonly metadata?: (groups: readonly number[]) => Readonly<Record<string, string>>;
}

interface Shard {
  readonly name: string;
  readonly groups: number[];
  readonly tensors: PlannedTensor[];
  writer: SafetensorsWriter | undefined;
}

/**
 * Writes the weights of a model folder: `model.safetensors`, or shards with their index when they exceed a maximum.
 * Tensors are written in any order; in the order of the plan one file is open at a time. Nothing has its name before
 * {@link commit}. Errors of {@link SafetensorsWriter}.
 */
export class ShardedWriter {
  readonly folder: string;
  readonly totalBytes: number;
  readonly #shards: readonly Shard[];
  readonly #shardOf = new Map<string, Shard>();
  readonly #metadata: (groups: readonly number[]) => Readonly<Record<string, string>>;

  /** Creates the folder if need be. */
  constructor(folder: string, groups: readonly TensorGroup[], options: ShardedWriterOptions = {}) {
    this.folder = folder;
    this.#shards = assign(groups, options.maximumShardBytes ?? defaultShardBytes);
    this.totalBytes = groups.flatMap(({ tensors }) => tensors).reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    for (const shard of this.#shards) {
      for (const { name } of shard.tensors) {
        if (this.#shardOf.has(name)) {
          throw new DoubleSparseError('option-out-of-range', `two tensors named ${name}`, { data: { name } });
        }
        this.#shardOf.set(name, shard);
      }
    }
    this.#metadata = options.metadata ?? (() => ({ format: 'pt' }));
    makeFolder(folder);
  }

  /** Names of the files that {@link commit} makes. */
  get fileNames(): string[] {
    const names = this.#shards.map(({ name }) => name);
    return names.length > 1 ? [...names, indexFileName] : names;
  }

  /** Appends bytes to a tensor. */
  writeBytes(name: string, bytes: Uint8Array): void {
    this.#write(name, (writer) => writer.writeBytes(name, bytes));
  }

  /** Appends values to a tensor in its planned type. @throws DoubleSparseError `non-finite-value` on overflow. */
  writeFloats(name: string, values: Float32Array): EncodingLoss {
    return this.#write(name, (writer) => writer.writeFloats(name, values));
  }

  /** Puts everything on the disk, so that {@link commit} only renames. @throws when a tensor is not complete. */
  flush(): void {
    for (const shard of this.#shards) this.#open(shard).flush();
  }

  /** Names all files, the index last, and removes weights that the folder had before under other names. */
  commit(): void {
    this.flush();
    const previous = this.#attempt(() => readdirSync(this.folder)).filter(isWeightFile);
    for (const shard of this.#shards) this.#open(shard).commit();
    const keep = new Set(this.fileNames);
    if (this.#shards.length > 1) {
      const entries = [...this.#shardOf].map(([name, shard]) => [name, shard.name] as const).sort();
      const index = { metadata: { total_size: this.totalBytes }, weight_map: Object.fromEntries(entries) };
      writeFileAtomically(join(this.folder, indexFileName), `${JSON.stringify(index, undefined, 2)}\n`);
    }
    const stale = previous.filter((name) => !keep.has(name));
    this.#attempt(() => {
      for (const name of stale) rmSync(join(this.folder, name), { force: true });
    });
  }

  /** Removes everything that has no name yet. */
  abort(): void {
    for (const { writer } of this.#shards) writer?.abort();
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (cause) {
      throw writeError(this.folder, cause);
    }
  }

  #open(shard: Shard): SafetensorsWriter {
    shard.writer ??= new SafetensorsWriter(join(this.folder, shard.name), shard.tensors, this.#metadata(shard.groups));
    return shard.writer;
  }

  #write<T>(name: string, write: (writer: SafetensorsWriter) => T): T {
    const shard = this.#shardOf.get(name);
    if (!shard)
      throw new DoubleSparseError('unknown-name', `${name} is not in the plan of ${this.folder}`, { data: { name } });
    const writer = this.#open(shard);
    const result = write(writer);
    // Frees the descriptor: in the order of the plan the next tensor is in the next shard.
    if (writer.complete) writer.flush();
    return result;
  }
}

/** Files that hold weights or tell where they are, in a folder that transformers could load. */
function isWeightFile(name: string): boolean {
  return /^model(-\d{5}-of-\d{5})?\.safetensors$/.test(name) || name === indexFileName;
}

/** Whether a folder already holds a model. */
export function holdsModel(folder: string): boolean {
  return existsSync(folder) && readdirSync(folder).some((name) => isWeightFile(name) || name === 'config.json');
}

function assign(groups: readonly TensorGroup[], maximum: number): Shard[] {
  const parts: { groups: number[]; tensors: PlannedTensor[]; bytes: number }[] = [];
  for (const [index, { tensors }] of groups.entries()) {
    const bytes = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
    let part = parts.at(-1);
    if (!part || (part.bytes > 0 && part.bytes + bytes > maximum)) {
      part = { groups: [], tensors: [], bytes: 0 };
      parts.push(part);
    }
    part.groups.push(index);
    part.tensors.push(...tensors);
    part.bytes += bytes;
  }
  if (parts.length === 0) parts.push({ groups: [], tensors: [], bytes: 0 });
  const number = (n: number) => String(n).padStart(5, '0');
  return parts.map(({ groups: indices, tensors }, i) => ({
    name: parts.length === 1 ? singleFileName : `model-${number(i + 1)}-of-${number(parts.length)}.safetensors`,
    groups: indices,
    tensors,
    writer: undefined,
  }));
}
