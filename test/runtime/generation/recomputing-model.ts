import { Compute } from '../../../src/linalg/compute.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import type { Matrix } from '../../../src/linalg/matrix.js';
import { LlamaModel } from '../../../src/models/llama/model.js';
import type { BlockWeights } from '../../../src/models/llama/weights.js';
import type { TokenModel } from '../../../src/runtime/token-model.js';

/** A small model whose weights are read once. */
export class ResidentLlama extends LlamaModel {
  readonly #blocks: BlockWeights[] = [];
  #embedding: Matrix | undefined;

  override readBlock(layer: number): BlockWeights {
    this.#blocks[layer] ??= super.readBlock(layer);
    return this.#blocks[layer];
  }

  override readEmbedding(): Matrix {
    this.#embedding ??= super.readEmbedding();
    return this.#embedding;
  }
}

/** The oracle of a model with a cache: computes all positions again with every call. */
export class RecomputingModel implements TokenModel {
  readonly vocabularySize: number;
  readonly capacity: number;
  readonly #llama: LlamaModel;
  readonly #compute = new Compute(createEngine());
  #ids: number[] = [];

  constructor(llama: LlamaModel, capacity = llama.config.contextLength) {
    this.#llama = llama;
    this.capacity = capacity;
    this.vocabularySize = llama.config.vocabularySize;
  }

  get position(): number {
    return this.#ids.length;
  }

  async extend(ids: ArrayLike<number>): Promise<Float32Array> {
    const { data, rows, columns } = await this.extendAll(ids);
    return data.subarray((rows - 1) * columns);
  }

  async extendAll(ids: ArrayLike<number>): Promise<Matrix> {
    this.#ids.push(...Array.from(ids));
    const { data, columns } = this.#llama.logits(this.#ids, this.#compute);
    return { rows: ids.length, columns, data: data.subarray((this.position - ids.length) * columns) };
  }

  truncate(position: number): void {
    this.#ids.length = Math.min(position, this.position);
  }

  async close(): Promise<void> {
    this.#llama.checkpoint.close();
  }
}
