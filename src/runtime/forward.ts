import { bytesPerFloat } from '../formats/dtype.js';
import { type Block, type Engine, whole } from '../linalg/engine.js';
import { instantiateKernels, type KernelExports } from '../linalg/wasm-kernels.js';
import type { LlamaConfig } from '../models/llama/config.js';
import { plainLlamaKernels } from '../models/llama/kernels.js';
import type { RotaryTable } from '../models/llama/rope.js';
import { type AttentionContext, attendTile, attendVector } from './attention.js';
import type { Barrier } from './barrier.js';
import { instantiateRuntimeKernels, type RuntimeKernels } from './kernels.js';
import {
  type Activations,
  type BlockLayout,
  fewPositions,
  type GroupSteps,
  type ModelLayout,
  type ProductStep,
  queryTile,
  type ThreadScratch,
} from './layout.js';
import { typeNumber } from './stored-matrix.js';
import { type MatrixProductContext, multiplyMatrix, multiplyVector } from './stored-product.js';

export interface ForwardOptions {
  readonly config: LlamaConfig;
  readonly layout: ModelLayout;
  readonly rotary: RotaryTable;
  readonly memory: WebAssembly.Memory;
  readonly kernels: WebAssembly.Module;
  readonly engine: Engine;
  readonly barrier: Barrier;
  readonly thread: number;
  readonly threads: number;
}

/** The forward pass as one of `threads` threads runs it: all of them run the same, each on its share of every step. */
export class Forward {
  readonly #config: LlamaConfig;
  readonly #layout: ModelLayout;
  readonly #rotary: RotaryTable;
  readonly #floats: Float32Array;
  readonly #kernels: RuntimeKernels;
  readonly #passes: KernelExports;
  readonly #barrier: Barrier;
  readonly #thread: number;
  readonly #threads: number;
  readonly #scratch: ThreadScratch;
  readonly #attention: AttentionContext;
  readonly #products: MatrixProductContext;

  constructor(options: ForwardOptions) {
    this.#config = options.config;
    this.#layout = options.layout;
    this.#rotary = options.rotary;
    this.#floats = new Float32Array(options.memory.buffer);
    this.#kernels = instantiateRuntimeKernels(options.kernels, options.memory);
    this.#passes = instantiateKernels(options);
    this.#barrier = options.barrier;
    this.#thread = options.thread;
    this.#threads = options.threads;
    this.#scratch = options.layout.threads[options.thread] as ThreadScratch;
    this.#attention = {
      config: options.config,
      floats: this.#floats,
      kernels: this.#kernels,
      passes: this.#passes,
      engine: options.engine,
      scratch: this.#scratch,
    };
    this.#products = {
      kernels: this.#kernels,
      engine: options.engine,
      floats: this.#floats,
      tile: this.#scratch.tile,
    };
  }

  /**
   * Appends ids behind `position` positions. The logits of the last are at `layout.logits` at the end.
   * @param all receives the logits of every position instead, ids.length x vocabularySize, in shared memory.
   */
  run(ids: Uint32Array, position: number, all?: Float32Array): void {
    const { chunk } = this.#layout;
    const { vocabularySize } = this.#config;
    for (let from = 0; from < ids.length; from += chunk) {
      const part = ids.subarray(from, from + chunk);
      this.#embed(part);
      for (const [layer, block] of this.#layout.blocks.entries()) {
        this.#attend(block, layer, part.length, position + from);
        this.#mlp(block, part.length);
      }
      if (all) this.#allLogits(part.length, all.subarray(from * vocabularySize));
      else if (from + chunk >= ids.length) this.#lastLogits(part.length);
      this.#barrier.wait();
    }
  }

  #embed(ids: Uint32Array): void {
    const { embedding, hidden } = this.#layout;
    const rowBytes = embedding.columns * bytesPerFloat(embedding.type);
    const type = typeNumber(embedding.type);
    for (let p = this.#thread; p < ids.length; p += this.#threads) {
      const row = embedding.values + (ids[p] as number) * rowBytes;
      this.#kernels.expandDense(type, rowAddress(hidden, p), row, embedding.columns);
    }
    this.#barrier.wait();
  }

  #attend(block: BlockLayout, layer: number, count: number, position: number): void {
    const { heads, keyValueHeads, windows } = this.#config;
    const { qkv, mixed, hidden } = this.#layout;
    const normed = this.#norm(block.inputNorm, count);
    this.#group(block.qkv, normed, qkv, count, false);
    this.#barrier.wait();
    const [firstHead, endHead] = this.#share(heads + 2 * keyValueHeads, 1);
    for (let p = 0; p < count; p++) {
      for (let head = firstHead; head < endHead; head++) this.#placeHead(block, head, p, position + p);
    }
    this.#barrier.wait();
    const shape = { block, queries: qkv, output: mixed, position, window: windows[layer] ?? null };
    const rows = count <= fewPositions ? 1 : queryTile;
    const tiles = Math.ceil(count / rows);
    for (let task = this.#thread; task < heads * tiles; task += this.#threads) {
      const [head, first] = [task % heads, Math.floor(task / heads) * rows];
      if (rows === 1) attendVector(this.#attention, shape, head, first);
      else attendTile(this.#attention, shape, head, first, Math.min(rows, count - first));
    }
    this.#barrier.wait();
    this.#group(block.output, mixed, hidden, count, true);
    this.#barrier.wait();
  }

  #mlp(block: BlockLayout, count: number): void {
    const { gateUp, upOffset, hidden } = this.#layout;
    const normed = this.#norm(block.postAttentionNorm, count);
    this.#group(block.gateUp, normed, gateUp, count, false);
    // Gates and what they multiply have the same rows, so they are the same thread's.
    const [first, end] = this.#share(this.#config.intermediateSize);
    for (let p = 0; p < count; p++) {
      const gate = rowAddress(gateUp, p) + 4 * first;
      this.#passes.siluMultiply(gate, gate + 4 * upOffset, end - first);
    }
    this.#barrier.wait();
    this.#group(block.down, gateUp, hidden, count, true);
    this.#barrier.wait();
  }

  /** Norm and rotation of a head of queries or keys; keys and values go to the cache. */
  #placeHead(
    { queryNorm, keyNorm, keys, values, slots }: BlockLayout,
    head: number,
    p: number,
    position: number,
  ): void {
    const { heads, keyValueHeads, headSize, normEpsilon } = this.#config;
    const address = rowAddress(this.#layout.qkv, p) + 4 * head * headSize;
    const row = this.#floats.subarray(address / 4, address / 4 + headSize);
    const isQuery = head < heads;
    const isValue = head >= heads + keyValueHeads;
    if (!isValue) {
      const norm = isQuery ? queryNorm : keyNorm;
      if (norm !== 0) this.#passes.rmsNorm(address, address, norm, 1, headSize, normEpsilon);
      const { cosines, sines } = this.#rotary;
      const [from, to] = [position * cosines.columns, (position + 1) * cosines.columns];
      plainLlamaKernels.rotate(row, 1, headSize, cosines.data.subarray(from, to), sines.data.subarray(from, to));
    }
    if (isQuery) return;
    const own = isValue ? head - heads - keyValueHeads : head - heads;
    const target = (isValue ? values : keys) / 4 + (own * slots + (position % slots)) * headSize;
    this.#floats.set(row, target);
  }

  /** RMSNorm of the hidden states: few positions by each thread for itself, many shared. */
  #norm(weight: number, count: number): Activations {
    const { hiddenSize, normEpsilon } = this.#config;
    const { hidden, normed } = this.#layout;
    const few = count <= fewPositions;
    const target = few ? this.#scratch.normed : normed;
    for (let p = few ? 0 : this.#thread; p < count; p += few ? 1 : this.#threads) {
      this.#passes.rmsNorm(rowAddress(target, p), rowAddress(hidden, p), weight, 1, hiddenSize, normEpsilon);
    }
    if (!few) this.#barrier.wait();
    return target;
  }

  #group(group: GroupSteps, source: Activations, target: Activations, count: number, accumulate: boolean): void {
    const { inner } = this.#layout;
    if (group.inner.length > 0) {
      for (const step of group.inner) this.#step(step, source, inner, count, false);
      this.#barrier.wait();
    }
    for (const step of group.outer) this.#step(step, step.fromInner ? inner : source, target, count, accumulate);
  }

  #step(step: ProductStep, source: Activations, target: Activations, count: number, accumulate: boolean): void {
    const { matrix, sourceOffset, targetOffset, bias } = step;
    const [first, end] = this.#share(matrix.rows);
    if (first === end) return;
    if (count <= fewPositions) {
      for (let p = 0; p < count; p++) {
        const x = rowAddress(source, p) + 4 * sourceOffset;
        const y = rowAddress(target, p) + 4 * targetOffset;
        multiplyVector(this.#kernels, matrix, y, x, first, end, bias, accumulate);
      }
      return;
    }
    const x = this.#block(source, sourceOffset, count, matrix.columns);
    const y = this.#block(target, targetOffset, count, matrix.rows);
    multiplyMatrix(this.#products, matrix, y, x, first, end, bias, accumulate);
  }

  #lastLogits(count: number): void {
    const { head, logits, hidden, finalNorm } = this.#layout;
    const { hiddenSize, normEpsilon } = this.#config;
    const { normed } = this.#scratch;
    this.#passes.rmsNorm(normed.address, rowAddress(hidden, count - 1), finalNorm, 1, hiddenSize, normEpsilon);
    const [first, end] = this.#share(head.rows);
    multiplyVector(this.#kernels, head, logits, normed.address, first, end, 0, false);
  }

  #allLogits(count: number, all: Float32Array): void {
    const { head, finalNorm } = this.#layout;
    const { hiddenSize, vocabularySize } = this.#config;
    const x = this.#block(this.#norm(finalNorm, count), 0, count, hiddenSize);
    const target = whole({ rows: count, columns: vocabularySize, data: all });
    const [first, end] = this.#share(head.rows);
    multiplyMatrix(this.#products, head, target, x, first, end, 0, false);
  }

  /** Activations of `count` positions, `columns` wide from `offset` on. */
  #block({ address, stride }: Activations, offset: number, count: number, columns: number): Block {
    return { data: this.#floats, offset: address / 4 + offset, stride, rows: count, columns };
  }

  /** First and end of this thread's share of `count` rows, in units of `unit` (pairs of rows share loads). */
  #share(count: number, unit = 4): [number, number] {
    const units = Math.ceil(count / unit);
    const at = (thread: number) => Math.min(count, Math.round((units * thread) / this.#threads) * unit);
    return [at(this.#thread), at(this.#thread + 1)];
  }
}

function rowAddress({ address, stride }: Activations, row: number): number {
  return address + 4 * row * stride;
}
