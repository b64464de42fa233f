import type { Checkpoint } from '../../formats/checkpoint.js';
import { CompressedCheckpoint } from '../../formats/container/checkpoint.js';
import { elementCount } from '../../linalg/element-count.js';
import type { LlamaConfig } from '../../models/llama/config.js';
import { expectedTensors, headName } from '../../models/llama/tensors.js';
import type { Representation, RepresentationPlan } from '../../runtime/representation.js';

/**
 * WebAssembly instructions in the inner loops of runtime/kernels with bf16 values (fp16 takes about a third more), for
 * eight positions of a matrix; of `indexed` for eight values. Loads and the loop itself count, moves between locals do
 * not; what two rows share counts half.
 */
export const instructionsPerEight: Readonly<Record<Representation, number>> = { stored: 16, indexed: 44, dense: 10 };

/** Instructions of the matrix products of one token, in all threads together. */
export function productInstructions(checkpoint: Checkpoint, config: LlamaConfig, plan: RepresentationPlan): number {
  let eights = 0;
  const compressed = new Set<string>();
  if (checkpoint instanceof CompressedCheckpoint) {
    for (const { name, factors, counts, members } of checkpoint.products.values()) {
      for (const { weight } of members) compressed.add(weight);
      const representation = plan[name] ?? 'stored';
      const positions =
        representation === 'dense'
          ? factors[0]!.shape[0] * factors.at(-1)!.shape[1]
          : representation === 'indexed'
            ? counts.reduce((sum, count) => sum + count, 0)
            : factors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
      eights += (positions / 8) * instructionsPerEight[representation];
    }
  }
  const tensors = expectedTensors(config);
  for (const [name, shape] of tensors) {
    // The embedding counts as the head where there is no other; a token reads one row of it else.
    const isProduct = shape.length === 2 && (name !== 'model.embed_tokens.weight' || !tensors.has(headName));
    if (isProduct && !compressed.has(name)) eights += (elementCount(shape) / 8) * instructionsPerEight.dense;
  }
  return eights;
}

export interface Roofline {
  /** Bytes that one token reads: weights, and the cache behind the first prompt. */
  readonly bytesPerToken: number;
  /** Bytes a second. */
  readonly bandwidth: number;
  /** Tokens a second if memory alone counted: what a kernel of any speed reaches at most. */
  readonly memoryBound: number;
  /** Tokens a second as measured, as a part of that. */
  readonly reached: number;
  readonly instructionsPerToken: number;
  /** A second and thread, as measured. */
  readonly instructionRate: number;
  readonly boundBy: 'memory' | 'instructions' | 'rest';
}

/** Above this part of the bandwidth, memory is what a program waits for. */
const nearBandwidth = 0.75;
/** A thread that does less of its instructions a second does something else most of the time. */
const busyRate = 1.5e9;

export function roofline(
  model: { readonly tokenBytes: number; readonly cacheBytes: number; readonly instructions: number },
  tokensPerSecond: number,
  bandwidth: number,
  threads: number,
): Roofline {
  const bytesPerToken = model.tokenBytes + model.cacheBytes;
  const memoryBound = bandwidth / bytesPerToken;
  const reached = tokensPerSecond / memoryBound;
  const instructionRate = (model.instructions * tokensPerSecond) / threads;
  return {
    bytesPerToken,
    bandwidth,
    memoryBound,
    reached,
    instructionsPerToken: model.instructions,
    instructionRate,
    boundBy: reached >= nearBandwidth ? 'memory' : instructionRate >= busyRate ? 'instructions' : 'rest',
  };
}
