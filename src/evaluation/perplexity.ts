import { availableParallelism } from 'node:os';
import type { TokenWindows } from '../calibration/windows.js';
import { DoubleSparseError } from '../errors.js';
import { chooseEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { Matrix } from '../linalg/matrix.js';
import { sharedZeros } from '../linalg/shared-matrix.js';
import { checkIds, embed } from '../models/llama/embedding.js';
import { ForwardPool } from '../models/llama/forward-pool.js';
import type { LlamaModel } from '../models/llama/model.js';
import { type BlockWeights, blockBytes, newBlockWeights } from '../models/llama/weights.js';
import { type PerplexityStatistics, perplexityStatistics } from './statistics.js';

/** Hidden states in memory at one time; more windows take a further turn through the model. */
const activationBytes = 512 * 2 ** 20;
/** The next block is read while the threads compute, unless a second block in memory would weigh too much. */
const prefetchBytes = 256 * 2 ** 20;

export interface PerplexityOptions {
  /** Cores to use (default: all). */
  threads?: number;
  /** Default: the fastest engine. */
  engine?: EngineChoice;
  /** Threads to use instead of own ones, of the same model configuration; they decide on `threads` and `engine`. */
  pool?: ForwardPool;
  /** Called after each block, and after the losses as block `layers`. */
  onProgress?: (progress: PerplexityProgress) => void;
}

export interface PerplexityProgress {
  /** Windows of the earlier turns, and of this one. */
  readonly windowsBefore: number;
  readonly windows: number;
  readonly block: number;
  readonly blocks: number;
}

export interface PerplexityResult extends PerplexityStatistics {
  readonly windows: number;
  readonly seqLen: number;
  /** Wall seconds, reading of the weights included. */
  readonly seconds: number;
  /** Seconds of all threads together, and of the matrix products among them. */
  readonly threadSeconds: number;
  readonly productSeconds: number;
}

/**
 * Perplexity of a model on token windows: exp of the mean loss of all tokens but the first of each window. Windows go
 * block by block through worker threads, so that one or two blocks' weights are in memory, whatever the model's size.
 * @param model dense or compressed, see {@link LlamaModel}.
 * @param text windows of `consecutiveWindows`.
 * @throws DoubleSparseError `option-out-of-range` (windows longer than the model's context, ids outside of its
 * vocabulary), `non-finite-value` naming tensor or block, `engine-unavailable`, `worker-failed`
 */
export async function perplexity(
  model: LlamaModel,
  text: TokenWindows,
  options: PerplexityOptions = {},
): Promise<PerplexityResult> {
  const start = performance.now();
  const { config } = model;
  const { windows, seqLen } = text;
  checkContext(seqLen, config.contextLength);
  for (const ids of windows) checkIds(ids, config.vocabularySize);
  const pool =
    options.pool ??
    new ForwardPool({
      config,
      choice: options.engine ?? chooseEngine(),
      threads: options.threads ?? availableParallelism(),
      sequences: windows.length,
      seqLen,
    });
  const before = pool.times;
  try {
    const perTurn = Math.max(pool.workers, Math.floor(activationBytes / (seqLen * config.hiddenSize * 4)));
    const states = Array.from({ length: Math.min(perTurn, windows.length) }, () =>
      sharedZeros(seqLen, config.hiddenSize),
    );
    const losses: Float64Array[] = [];
    for (let from = 0; from < windows.length; from += perTurn) {
      const ids = windows.slice(from, from + perTurn);
      const report = (block: number): void =>
        options.onProgress?.({ windowsBefore: from, windows: ids.length, block, blocks: config.layers });
      losses.push(...(await turn(model, pool, ids, states.slice(0, ids.length), report)));
    }
    const { seconds: threadSeconds, productSeconds } = pool.times;
    const seconds = (performance.now() - start) / 1000;
    return {
      ...perplexityStatistics(losses),
      windows: windows.length,
      seqLen,
      seconds,
      threadSeconds: threadSeconds - before.seconds,
      productSeconds: productSeconds - before.productSeconds,
    };
  } finally {
    if (pool !== options.pool) await pool.close();
  }
}

/** Losses of the next tokens of some windows, in one turn through the model. */
async function turn(
  model: LlamaModel,
  pool: ForwardPool,
  windows: readonly Uint32Array[],
  states: readonly Matrix[],
  report: (block: number) => void,
): Promise<Float64Array[]> {
  const { config } = model;
  const tied = embedWindows(model, windows, states);
  const buffers = [newBlockWeights(config)];
  // Reading expands compressed weights with one BLAS thread, a number of the whole process: not beside a worker with more.
  if (pool.blasThreads === 1 && blockBytes(config) <= prefetchBytes) buffers.push(newBlockWeights(config));
  const read = (layer: number): BlockWeights => model.readBlock(layer, buffers[layer % buffers.length]);
  let next = read(0);
  for (let layer = 0; layer < config.layers; layer++) {
    const computed = pool.advance(layer, next, states);
    const more = layer + 1 < config.layers;
    if (more && buffers.length > 1) {
      try {
        next = read(layer + 1);
      } catch (error) {
        await Promise.allSettled([computed]);
        throw error;
      }
    }
    await computed;
    if (more && buffers.length === 1) next = read(layer + 1);
    report(layer);
  }
  const losses = await pool.losses(model.readHead(tied), states, windows);
  report(config.layers);
  return losses;
}

/** Fills the states; returns the embeddings if the head needs them again. */
function embedWindows(
  model: LlamaModel,
  windows: readonly Uint32Array[],
  states: readonly Matrix[],
): Matrix | undefined {
  const embedding = model.readEmbedding();
  for (const [i, ids] of windows.entries()) embed(embedding, ids, states[i] as Matrix);
  return model.config.tiedHead ? embedding : undefined;
}

function checkContext(seqLen: number, contextLength: number): void {
  if (seqLen <= contextLength) return;
  throw new DoubleSparseError(
    'option-out-of-range',
    `windows of ${seqLen} tokens are longer than the model's context of ${contextLength}`,
    { data: { option: 'seqLen', value: seqLen, contextLength }, hint: `use --seq-len ${contextLength} or less` },
  );
}
