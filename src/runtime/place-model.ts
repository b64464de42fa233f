import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { bytesPerFloat } from '../formats/dtype.js';
import type { LlamaConfig } from '../models/llama/config.js';
import type { LlamaModel } from '../models/llama/model.js';
import {
  blockTensor,
  embeddingName,
  finalNormName,
  groupMembers,
  hasBias,
  headName,
  type LinearGroup,
  linearShape,
} from '../models/llama/tensors.js';
import { barrierWords } from './barrier.js';
import {
  type Activations,
  type BlockLayout,
  fewPositions,
  type GroupSteps,
  type ModelLayout,
  type ProductStep,
  padded,
  queryTile,
  tileRows,
} from './layout.js';
import { type PlacedProduct, placeProduct } from './place-product.js';
import type { Representation, RepresentationPlan } from './representation.js';
import type { RuntimeMemory } from './runtime-memory.js';
import { placeDense, placeVector } from './weight-source.js';

export interface PlaceOptions {
  readonly threads: number;
  /** Positions of the cache. */
  readonly capacity: number;
  /** Positions computed at a time. */
  readonly chunk: number;
  /** Of every product, or by its name (`stored` for those that are not named). */
  readonly representation: Representation | RepresentationPlan;
}

export interface PlacedModel {
  readonly layout: ModelLayout;
  readonly plan: RepresentationPlan;
  readonly weightBytes: number;
  /** Weights that one token reads: all but an embedding that is not the head. */
  readonly tokenBytes: number;
  readonly cacheBytes: number;
}

/** Reads a model into the runtime's memory, with room for cache and scratch. */
export function placeModel(memory: RuntimeMemory, model: LlamaModel, options: PlaceOptions): PlacedModel {
  const { config, checkpoint } = model;
  const { threads, capacity, chunk, representation } = options;
  const before = memory.size;
  const products = new Products(memory, model, representation);
  const embedding = placeDense(memory, checkpoint, embeddingName);
  // A tied head that was saved a second time with other values is refused.
  if (config.tiedHead && checkpoint.tensors.has(headName)) model.readHead();
  const head = config.tiedHead ? embedding : placeDense(memory, checkpoint, headName);
  const finalNorm = placeVector(memory, checkpoint, finalNormName);
  const weights = Array.from({ length: config.layers }, (_, layer) => {
    const vector = (module: string): number => placeVector(memory, checkpoint, blockTensor(layer, module));
    return {
      inputNorm: vector('input_layernorm'),
      postAttentionNorm: vector('post_attention_layernorm'),
      queryNorm: config.queryKeyNorm ? vector('self_attn.q_norm') : 0,
      keyNorm: config.queryKeyNorm ? vector('self_attn.k_norm') : 0,
      qkv: products.group(layer, 'qkv'),
      output: products.group(layer, 'output'),
      gateUp: products.group(layer, 'gateUp'),
      down: products.group(layer, 'down'),
    };
  });
  const weightBytes = memory.size - before;
  const blocks = weights.map((block, layer) => ({ ...block, ...placeCache(memory, config, layer, capacity, chunk) }));
  const cacheBytes = memory.size - before - weightBytes;
  const widest = Math.max(config.hiddenSize, config.intermediateSize, ...innerWidths(blocks));
  const rowsOf = (count: number, width: number): Activations => ({
    address: memory.allocate(4 * count * padded(width)),
    stride: padded(width),
  });
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headSize, vocabularySize } = config;
  const layout: ModelLayout = {
    embedding,
    head,
    finalNorm,
    blocks,
    chunk,
    hidden: rowsOf(chunk, hiddenSize),
    normed: rowsOf(chunk, hiddenSize),
    inner: rowsOf(chunk, products.innerWidth),
    qkv: rowsOf(chunk, (heads + 2 * keyValueHeads) * headSize),
    mixed: rowsOf(chunk, heads * headSize),
    gateUp: rowsOf(chunk, 2 * padded(intermediateSize)),
    upOffset: padded(intermediateSize),
    logits: memory.allocate(4 * vocabularySize),
    barrier: memory.allocate(4 * barrierWords),
    threads: Array.from({ length: threads }, () => ({
      normed: rowsOf(fewPositions, hiddenSize),
      tile: memory.allocate(4 * tileRows * padded(Math.max(widest, heads * headSize))),
      scores: memory.allocate(4 * queryTile * (capacity + queryTile)),
      inverseSums: memory.allocate(4 * queryTile),
    })),
  };
  const unread = config.tiedHead ? 0 : embedding.rows * embedding.columns * bytesPerFloat(embedding.type);
  return { layout, plan: products.plan, weightBytes, tokenBytes: weightBytes - unread, cacheBytes };
}

function innerWidths(blocks: readonly BlockLayout[]): number[] {
  return blocks.flatMap(({ qkv, output, gateUp, down }) =>
    [qkv, output, gateUp, down].flatMap(({ inner }) => inner.map(({ matrix }) => matrix.rows)),
  );
}

/** Positions that a layer's cache holds: the window, and beside it a chunk whose first query still sees its own. */
export function cacheSlots(config: LlamaConfig, layer: number, capacity: number, chunk: number): number {
  const window = config.windows[layer] ?? null;
  return window === null ? capacity : Math.min(capacity, window + chunk);
}

function placeCache(memory: RuntimeMemory, config: LlamaConfig, layer: number, capacity: number, chunk: number) {
  const slots = cacheSlots(config, layer, capacity, chunk);
  const bytes = 4 * config.keyValueHeads * slots * config.headSize;
  return { keys: memory.allocate(bytes), values: memory.allocate(bytes), slots };
}

/** The linear layers of a model; a product with several members is placed when the first of them is asked for. */
class Products {
  readonly plan: Record<string, Representation> = {};
  /** Floats between the factors of the widest group. */
  innerWidth = 1;
  readonly #memory: RuntimeMemory;
  readonly #model: LlamaModel;
  readonly #wanted: Representation | RepresentationPlan;
  readonly #productOf = new Map<string, string>();
  readonly #placed = new Map<string, PlacedProduct>();

  constructor(memory: RuntimeMemory, model: LlamaModel, wanted: Representation | RepresentationPlan) {
    this.#memory = memory;
    this.#model = model;
    this.#wanted = wanted;
    const { checkpoint } = model;
    if (!(checkpoint instanceof CompressedCheckpoint)) return;
    for (const { name, members } of checkpoint.products.values()) {
      for (const { weight } of members) this.#productOf.set(weight, name);
    }
  }

  group(layer: number, group: LinearGroup): GroupSteps {
    const { config, checkpoint } = this.#model;
    const inner = new Map<string, ProductStep>();
    const outer: ProductStep[] = [];
    let [targetOffset, innerOffset] = [0, 0];
    for (const member of groupMembers[group]) {
      const weight = blockTensor(layer, member);
      const name = this.#productOf.get(weight);
      const bias = hasBias(config, member)
        ? placeVector(this.#memory, checkpoint, blockTensor(layer, member, 'bias'))
        : 0;
      const product = name === undefined ? undefined : this.#place(name);
      const matrix = product?.members.get(weight) ?? placeDense(this.#memory, checkpoint, weight);
      if (name !== undefined && product?.inner && !inner.has(name)) {
        const step = { matrix: product.inner, sourceOffset: 0, targetOffset: innerOffset, bias: 0, fromInner: false };
        inner.set(name, step);
        innerOffset += padded(product.inner.rows);
      }
      const sourceOffset = name === undefined ? 0 : (inner.get(name)?.targetOffset ?? 0);
      outer.push({ matrix, sourceOffset, targetOffset, bias, fromInner: product?.inner !== undefined });
      // Gates and what they multiply are vectors of their own, with zeros behind.
      const rows = linearShape(config, member)[0];
      targetOffset += group === 'gateUp' ? padded(rows) : rows;
    }
    this.innerWidth = Math.max(this.innerWidth, innerOffset);
    return { inner: [...inner.values()], outer };
  }

  #place(name: string): PlacedProduct {
    const known = this.#placed.get(name);
    if (known) return known;
    const checkpoint = this.#model.checkpoint as CompressedCheckpoint;
    const wanted = typeof this.#wanted === 'string' ? this.#wanted : (this.#wanted[name] ?? 'stored');
    const placed = placeProduct(this.#memory, checkpoint, checkpoint.products.get(name)!, wanted);
    this.#placed.set(name, placed);
    this.plan[name] = placed.representation;
    return placed;
  }
}
