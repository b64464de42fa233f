import type { Engine } from '../linalg/engine.js';
import type { KernelExports } from '../linalg/wasm-kernels.js';
import type { LlamaConfig } from '../models/llama/config.js';
import type { RuntimeKernels } from './kernels.js';
import type { Activations, BlockLayout, ThreadScratch } from './layout.js';

export interface AttentionContext {
  readonly config: LlamaConfig;
  /** All of the runtime's memory. */
  readonly floats: Float32Array;
  readonly kernels: RuntimeKernels;
  readonly passes: KernelExports;
  readonly engine: Engine;
  readonly scratch: ThreadScratch;
}

/** Queries of consecutive positions, the first of them at `position`; keys and values up to the last are in the cache. */
export interface AttentionInput {
  readonly block: BlockLayout;
  readonly queries: Activations;
  readonly output: Activations;
  readonly position: number;
  /** Positions that each sees, its own included; null for all before it. */
  readonly window: number | null;
}

/** As good as no window, in the kernels' unsigned numbers. */
const widest = 0xffff_ffff;

/** Attention of one query of one head. */
export function attendVector(context: AttentionContext, input: AttentionInput, head: number, row: number): void {
  const { kernels, passes, floats, scratch, config } = context;
  const { block, queries, output, position, window } = input;
  const { headSize, heads, keyValueHeads } = config;
  const count = Math.min(position + row + 1, window ?? Number.POSITIVE_INFINITY);
  const start = (position + row + 1 - count) % block.slots;
  const { scores, inverseSums } = scratch;
  const cache = 4 * Math.floor((head * keyValueHeads) / heads) * block.slots * headSize;
  const query = queries.address + 4 * (row * queries.stride + head * headSize);
  const target = output.address + 4 * (row * output.stride + head * headSize);
  const scale = 1 / Math.sqrt(headSize);
  kernels.attentionScores(scores, query, block.keys + cache, headSize, block.slots, start, count, scale);
  passes.causalExponentials(scores, 1, count, count, widest, inverseSums);
  const inverse = floats[inverseSums / 4] as number;
  kernels.mixValues(target, scores, block.values + cache, headSize, block.slots, start, count, inverse);
}

/** Attention of `rows` queries of one head, from row `first` on, by matrix products. */
export function attendTile(
  context: AttentionContext,
  input: AttentionInput,
  head: number,
  first: number,
  rows: number,
): void {
  const { passes, floats, engine, scratch, config } = context;
  const { block, queries, output, position, window } = input;
  const { headSize, heads, keyValueHeads } = config;
  const begin = position + first;
  const firstKey = Math.max(0, begin + 1 - (window ?? Number.POSITIVE_INFINITY));
  const columns = begin + rows - firstKey;
  const cache = Math.floor((head * keyValueHeads) / heads) * block.slots * headSize;
  const data = floats;
  const ofHead = ({ address, stride }: Activations) => ({
    data,
    offset: address / 4 + first * stride + head * headSize,
    stride,
    rows,
    columns: headSize,
  });
  const [query, target] = [ofHead(queries), ofHead(output)];
  const pieces = ringPieces(firstKey % block.slots, columns, block.slots);
  const piece = (address: number, slot: number, length: number) => ({
    data,
    offset: address / 4 + cache + slot * headSize,
    stride: headSize,
    rows: length,
    columns: headSize,
  });
  const scoresOf = (offset: number, length: number) => ({
    data,
    offset: scratch.scores / 4 + offset,
    stride: columns,
    rows,
    columns: length,
  });
  const alpha = 1 / Math.sqrt(headSize);
  for (const { slot, length, offset } of pieces) {
    const product = { transposeA: false, transposeB: true, alpha, beta: 0 };
    engine.gemm(query, piece(block.keys, slot, length), scoresOf(offset, length), product);
  }
  passes.causalExponentials(scratch.scores, rows, columns, begin - firstKey + 1, window ?? widest, scratch.inverseSums);
  for (const { slot, length, offset } of pieces) {
    const product = { transposeA: false, transposeB: false, alpha: 1, beta: offset === 0 ? 0 : 1 };
    engine.gemm(scoresOf(offset, length), piece(block.values, slot, length), target, product);
  }
  for (let row = 0; row < rows; row++) {
    const scale = floats[scratch.inverseSums / 4 + row] as number;
    const start = target.offset + row * target.stride;
    for (let i = start; i < start + headSize; i++) floats[i] = (floats[i] as number) * scale;
  }
}

/** `count` slots of a ring from `start` on, as one or two runs. */
function ringPieces(start: number, count: number, slots: number): { slot: number; length: number; offset: number }[] {
  const length = Math.min(count, slots - start);
  const pieces = [{ slot: start, length, offset: 0 }];
  if (length < count) pieces.push({ slot: 0, length: count - length, offset: length });
  return pieces;
}
