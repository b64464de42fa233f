import { availableParallelism } from 'node:os';
import { DoubleSparseError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import type { EngineName } from '../linalg/engine.js';
import { findNativeLibrary } from '../linalg/engines/native.js';
import { chooseEngine } from '../linalg/engines/select.js';
import type { LlamaConfig } from '../models/llama/config.js';
import { LlamaModel } from '../models/llama/model.js';
import { openModel } from '../models/llama/open-model.js';
import { rotaryTable } from '../models/llama/rope.js';
import { type ChosenPlan, choosePlan, planBytes } from './choose-plan.js';
import { compileKernels, fastestBuild, type KernelBuild } from './kernels.js';
import { placeModel } from './place-model.js';
import { productSizes } from './product-sizes.js';
import type { Representation, RepresentationPlan } from './representation.js';
import { bytesBesideProducts } from './required-memory.js';
import { maximumMemoryBytes, RuntimeMemory } from './runtime-memory.js';
import { ThreadedTokenModel } from './threaded-token-model.js';
import type { TokenModel } from './token-model.js';
import { WorkerTeam } from './worker-team.js';

/** Positions of the cache unless asked for otherwise, where the model has more. */
const defaultCapacity = 4096;
/** Positions computed at a time: enough for fast products, few enough for the caches of a processor. */
const defaultChunk = 256;

export interface RuntimeOptions {
  /** Default: all cores. */
  threads?: number;
  /** Positions of the cache (default: the model's context, at most 4096). */
  capacity?: number;
  /** Positions computed at a time, most (default 256). */
  chunk?: number;
  /**
   * Of every product, or by the product's name (`stored` for others). Default `auto`: the plan that `dsf tune`
   * left beside the model, or else the fastest as measured now, within `memory`.
   */
  representation?: Representation | RepresentationPlan | 'auto';
  /** Bytes that compressed weights may take, for `auto`; see {@link PlanOptions}. */
  memory?: number;
  /** For prompts: products of many positions (default: a native library, `auto` where there is none). */
  engine?: EngineName | 'auto';
  /** Build of the kernels (default: the fastest that this machine takes). */
  kernels?: KernelBuild;
}

export interface LoadedModel {
  readonly model: TokenModel;
  readonly config: LlamaConfig;
  readonly checkpoint: Checkpoint;
  readonly threads: number;
  readonly kernels: KernelBuild;
  readonly loadSeconds: number;
  readonly weightBytes: number;
  /** Weights that one token reads. */
  readonly tokenBytes: number;
  readonly cacheBytes: number;
  /** What each product came to; empty for a dense model. */
  readonly plan: RepresentationPlan;
  /** Where the plan comes from: asked for, the file of `dsf tune`, or measured at loading. */
  readonly planSource: 'given' | ChosenPlan['source'];
  /** Why a file of `dsf tune` was not used. */
  readonly tuningIgnored?: string;
}

/**
 * Loads a model of the LLaMA family, dense or compressed, for token-by-token computation. Weights stay in their stored
 * type and form. Closing the token model ends its threads; the checkpoint stays open (for its tokenizer).
 * @throws DoubleSparseError `out-of-memory` when the model does not fit 4 GiB, `option-out-of-range`, and of
 *   {@link openModel}
 */
export async function loadTokenModel(
  source: string | Checkpoint | LlamaModel,
  options: RuntimeOptions = {},
): Promise<LoadedModel> {
  const begin = performance.now();
  const llama = modelOf(source);
  try {
    return await load(llama, options, begin);
  } catch (error) {
    if (typeof source === 'string') llama.checkpoint.close();
    throw error;
  }
}

async function load(llama: LlamaModel, options: RuntimeOptions, begin: number): Promise<LoadedModel> {
  const { config, checkpoint } = llama;
  const threads = positive('threads', options.threads ?? availableParallelism());
  const capacity = positive('capacity', options.capacity ?? Math.min(config.contextLength, defaultCapacity));
  const chunk = Math.min(capacity, positive('chunk', options.chunk ?? defaultChunk));
  const beside = bytesBesideProducts(llama, capacity, chunk);
  requireRoom(checkpoint, beside, () => 'stored', capacity);
  const build = options.kernels ?? fastestBuild();
  const memory = new RuntimeMemory();
  const { representation: wanted = 'auto', memory: memoryLimit } = options;
  const limit = { room: maximumMemoryBytes - beside, ...(memoryLimit !== undefined && { memory: memoryLimit }) };
  const chosen =
    wanted === 'auto' && checkpoint instanceof CompressedCheckpoint
      ? choosePlan(checkpoint, build, limit, memory)
      : undefined;
  const representation = chosen?.plan ?? (wanted === 'auto' ? 'stored' : wanted);
  const of = (name: string) =>
    typeof representation === 'string' ? representation : (representation[name] ?? 'stored');
  requireRoom(checkpoint, beside, of, capacity);
  // Threads start while this one reads.
  const team = new WorkerTeam(threads, {
    config,
    rotary: rotaryTable(config.rope, config.headSize, capacity),
    memory: memory.memory,
    kernels: compileKernels(build),
    engine: chooseEngine(options.engine ?? (findNativeLibrary() ? 'native' : 'auto')),
  });
  try {
    const placed = placeModel(memory, llama, { threads, capacity, chunk, representation });
    await team.prepare(placed.layout);
    return {
      model: new ThreadedTokenModel(config, placed.layout, memory, team, capacity),
      config,
      checkpoint,
      threads,
      kernels: build,
      loadSeconds: (performance.now() - begin) / 1000,
      weightBytes: placed.weightBytes,
      tokenBytes: placed.tokenBytes,
      cacheBytes: placed.cacheBytes,
      plan: placed.plan,
      planSource: chosen?.source ?? 'given',
      ...(chosen?.ignored !== undefined && { tuningIgnored: chosen.ignored }),
    };
  } catch (error) {
    await team.close();
    throw error;
  }
}

function modelOf(source: string | Checkpoint | LlamaModel): LlamaModel {
  if (source instanceof LlamaModel) return source;
  return typeof source === 'string' ? openModel(source) : new LlamaModel(source);
}

function positive(name: string, value: number): number {
  if (Number.isInteger(value) && value > 0) return value;
  throw new DoubleSparseError('option-out-of-range', `${name} is ${value}, not a positive integer`, {
    data: { [name]: value },
  });
}

/** Before anything is read: a model that 32-bit addresses cannot hold is refused. */
function requireRoom(
  checkpoint: Checkpoint,
  besideProducts: number,
  representationOf: (product: string) => Representation,
  capacity: number,
): void {
  const products = checkpoint instanceof CompressedCheckpoint ? productSizes(checkpoint) : [];
  const bytes = besideProducts + planBytes(products, representationOf);
  if (bytes <= maximumMemoryBytes) return;
  throw new DoubleSparseError(
    'out-of-memory',
    `${checkpoint.path}: weights and a cache of ${capacity} positions take ${(bytes / 2 ** 30).toFixed(1)} GiB, the runtime holds 4 GiB`,
    {
      data: { path: checkpoint.path, bytes, limit: maximumMemoryBytes },
      hint: 'compress it further, use fewer positions (--context), or a smaller model; dsf tune without --memory keeps products as they are stored',
    },
  );
}
