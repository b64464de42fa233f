import type { Checkpoint } from '../../formats/checkpoint.js';
import { CompressedCheckpoint } from '../../formats/container/checkpoint.js';
import { elementCount } from '../../linalg/element-count.js';
import type { LlamaConfig } from '../../models/llama/config.js';
import { expectedTensors, headName } from '../../models/llama/tensors.js';
import type { RepresentationPlan } from '../../runtime/representation.js';
import { keptType } from '../../runtime/weight-source.js';
import type { MachineSpeed } from './measure-machine.js';
import { instructionsOf, type KernelWork, type ProductKernel, weigh } from './product-kernels.js';

/** What the matrix products of one token take of each kernel, in all threads together. */
export function productWork(checkpoint: Checkpoint, config: LlamaConfig, plan: RepresentationPlan): KernelWork {
  const work: Partial<Record<ProductKernel, number>> = {};
  const add = (kernel: ProductKernel, positions: number): void => {
    work[kernel] = (work[kernel] ?? 0) + positions / 8;
  };
  const compressed = new Set<string>();
  if (checkpoint instanceof CompressedCheckpoint) {
    for (const { name, dtype, factors, counts, members } of checkpoint.products.values()) {
      for (const { weight } of members) compressed.add(weight);
      const representation = plan[name] ?? 'stored';
      const positions =
        representation === 'dense'
          ? factors[0]!.shape[0] * factors.at(-1)!.shape[1]
          : representation === 'indexed'
            ? counts.reduce((sum, count) => sum + count, 0)
            : factors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
      add(`${representation} ${dtype}` as ProductKernel, positions);
    }
  }
  const tensors = expectedTensors(config);
  for (const [name, shape] of tensors) {
    // The embedding counts as the head where there is no other; a token reads one row of it else.
    const isProduct = shape.length === 2 && (name !== 'model.embed_tokens.weight' || !tensors.has(headName));
    if (!isProduct || compressed.has(name)) continue;
    add(`dense ${keptType(checkpoint.tensors.get(name)?.dtype ?? '')}`, elementCount(shape));
  }
  return work;
}

/** Bytes of keys and values that a token reads behind so many positions; of a window, what it still sees. */
export function cacheBytesRead({ windows, layers, keyValueHeads, headSize }: LlamaConfig, positions: number): number {
  const seen = Array.from({ length: layers }, (_, layer) => Math.min(windows[layer] ?? positions, positions));
  return 8 * keyValueHeads * headSize * seen.reduce((sum, count) => sum + count, 0);
}

export interface Roofline {
  /** Bytes that one token reads: weights, and the cache behind the first prompt. */
  readonly bytesPerToken: number;
  readonly instructionsPerToken: number;
  /** Tokens a second if memory alone counted: what a native kernel of wider vectors reaches at most. */
  readonly memoryBound: number;
  /** Tokens a second if all matrices lay in the caches of the cores and nothing but products were computed. */
  readonly instructionBound: number;
  /** Tokens a second as measured, as parts of those. */
  readonly reachedOfMemory: number;
  readonly reachedOfInstructions: number;
  /** The nearer of the bounds, where at least {@link nearBound} of it is reached. */
  readonly boundBy: 'memory' | 'instructions' | 'neither';
}

/** From this part of a bound on, it is what a program waits for. */
export const nearBound = 0.75;

export function roofline(
  model: { readonly tokenBytes: number; readonly cacheBytes: number; readonly work: KernelWork },
  tokensPerSecond: number,
  { bandwidth, nanosecondsPerEight }: MachineSpeed,
  threads: number,
): Roofline {
  const bytesPerToken = model.tokenBytes + model.cacheBytes;
  const memoryBound = bandwidth / bytesPerToken;
  const instructionBound = (1e9 * threads) / weigh(model.work, nanosecondsPerEight);
  const [reachedOfMemory, reachedOfInstructions] = [tokensPerSecond / memoryBound, tokensPerSecond / instructionBound];
  const nearer = reachedOfMemory >= reachedOfInstructions ? 'memory' : 'instructions';
  return {
    bytesPerToken,
    instructionsPerToken: instructionsOf(model.work),
    memoryBound,
    instructionBound,
    reachedOfMemory,
    reachedOfInstructions,
    boundBy: Math.max(reachedOfMemory, reachedOfInstructions) >= nearBound ? nearer : 'neither',
  };
}
