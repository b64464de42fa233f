import { join } from 'node:path';
import { DoubleSparseError } from '../../errors.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { Checkpoint, CheckpointTensor, TokenizerFiles } from '../checkpoint.js';
import { readJsonObject } from '../json-file.js';
import { readTokenizerFiles } from '../tokenizer-files.js';
import type { SafetensorsFile } from './reader.js';
import { openShards, type Shards } from './shards.js';

/** A Hugging Face folder: config.json, tokenizer files, one or more safetensors files. */
export class SafetensorsCheckpoint implements Checkpoint {
  readonly format = 'safetensors';
  readonly path: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  readonly #shards: Shards;

  /**
   * Reads config.json and every header, no tensor.
   * @throws DoubleSparseError `file-unreadable`, `file-malformed`, `not-found` (no weights, missing shards)
   */
  constructor(folder: string) {
    this.path = folder;
    this.config = readJsonObject(join(folder, 'config.json'));
    this.#shards = openShards(folder);
    this.tensors = new Map(
      [...this.#shards.fileOf].map(([name, file]) => {
        const { dtype, shape, begin, end } = file.tensor(name);
        return [name, { name, shape, dtype, bytes: end - begin }];
      }),
    );
  }

  /** The file that holds a tensor, for reading its bytes as they are. @throws DoubleSparseError `unknown-name` */
  file(name: string): SafetensorsFile {
    const file = this.#shards.fileOf.get(name);
    if (file) return file;
    throw new DoubleSparseError('unknown-name', `${this.path} has no tensor ${name}`, {
      data: { path: this.path, name },
    });
  }

  /** The safetensors files, in the order of their names. */
  get files(): readonly SafetensorsFile[] {
    return this.#shards.files;
  }

  read(name: string, allocate?: (rows: number, columns: number) => Matrix): Matrix {
    return this.file(name).readMatrix(name, allocate);
  }

  tokenizerFiles(): TokenizerFiles {
    return readTokenizerFiles(this.path);
  }

  close(): void {
    for (const file of this.#shards.files) file.close();
  }
}
