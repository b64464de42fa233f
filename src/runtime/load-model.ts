import { DoubleSparseError } from '../errors.js';
import { Compute } from '../linalg/compute.js';
import { createEngine } from '../linalg/engines/select.js';
import type { Matrix } from '../linalg/matrix.js';
import type { LlamaModel } from '../models/llama/model.js';
import type { TokenModel } from './token-model.js';

export interface RuntimeOptions {
  /** Cores to use (default: all). */
  threads?: number;
  /** Positions of the cache (default: the model's context, at most 4096). */
  capacity?: number;
}

/** Loads a model for generation; every call computes all positions again. */
export async function loadTokenModel(llama: LlamaModel, options: RuntimeOptions = {}): Promise<{ model: TokenModel }> {
  return { model: new RecomputingModel(llama, options.capacity ?? Math.min(llama.config.contextLength, 4096)) };
}

class RecomputingModel implements TokenModel {
  readonly vocabularySize: number;
  readonly #compute = new Compute(createEngine());
  #ids: number[] = [];

  constructor(
    readonly llama: LlamaModel,
    readonly capacity: number,
  ) {
    this.vocabularySize = llama.config.vocabularySize;
  }

  get position(): number {
    return this.#ids.length;
  }

  async extend(ids: ArrayLike<number>): Promise<Float32Array> {
    const { data, rows, columns } = await this.extendAll(ids);
    return data.slice((rows - 1) * columns);
  }

  async extendAll(ids: ArrayLike<number>): Promise<Matrix> {
    if (this.position + ids.length > this.capacity)
      throw new DoubleSparseError('option-out-of-range', `the cache has room for ${this.capacity} positions`);
    this.#ids.push(...Array.from(ids));
    const { data, columns } = this.llama.logits(this.#ids, this.#compute);
    return { rows: ids.length, columns, data: data.slice((this.position - ids.length) * columns) };
  }

  truncate(position: number): void {
    this.#ids.length = Math.min(position, this.#ids.length);
  }

  async close(): Promise<void> {}
}
