import { availableParallelism } from 'node:os';
import type { LoadedWindows } from '../calibration/load-windows.js';
import { perplexity } from '../evaluation/perplexity.js';
import type { FactorizationMetrics } from '../factorization/factorization.js';
import { compressedAlready } from '../formats/container/writer.js';
import { claimModelFolder } from '../formats/model-folder.js';
import { chooseEngine, createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import { ForwardPool } from '../models/llama/forward-pool.js';
import type { LlamaModel } from '../models/llama/model.js';
import { openModel } from '../models/llama/open-model.js';
import { BlockRun } from './block-run.js';
import { checkDenseModel, firstWindows } from './check-dense-model.js';
import type { CompressOptions } from './compress-options.js';
import type { CompressionEvent } from './compression-event.js';
import { type CompressionPlan, planCompression } from './compression-plan.js';
import { MatrixPool } from './matrix-pool.js';
import { engineOfRun, fingerprintOf } from './run-fingerprint.js';
import { RunFolder } from './run-folder.js';
import { type VerifiedModel, writeCompressedModel } from './write-compressed.js';

export interface CompressionResult extends VerifiedModel {
  readonly plan: CompressionPlan;
  /** By name of the weight, in the order of the plan. */
  readonly metrics: ReadonlyMap<string, FactorizationMetrics>;
  readonly engine: string;
  readonly workers: number;
  readonly blasThreads: number;
  /** Wall seconds of this process, and of these inside factorisation jobs. */
  readonly seconds: number;
  readonly factorizationSeconds: number;
  /** Perplexities of source and result on a few calibration windows. */
  readonly denseOutput: number;
  readonly compressedOutput: number;
  /** Products that an earlier, interrupted process had finished. */
  readonly resumedProducts: number;
  /** Of the process, when the run ended. */
  readonly peakMemoryBytes: number;
}

/**
 * Compresses a model block by block: the inputs of a block's matrices come from the already compressed blocks before
 * it (method.md section 5). Goes on where an interrupted run with the same settings stopped; the bytes are those of an
 * undisturbed run.
 * @param windows calibration windows of equal length.
 * @param out folder of the compressed model; the run keeps its state in `out`.run until it is done.
 * @throws DoubleSparseError of reading, factorising and writing; `run-in-use`, `run-mismatch`, `verification-failed`
 */
export async function compressModel(
  model: LlamaModel,
  windows: LoadedWindows,
  out: string,
  options: CompressOptions,
  report: (event: CompressionEvent) => void = () => {},
): Promise<CompressionResult> {
  const start = performance.now();
  const plan = planCompression(model, options);
  // A run goes on with the engine it began with: which one is faster at this moment may have changed.
  const choice = chooseEngine(options.engine === 'auto' ? (engineOfRun(`${out}.run`) ?? 'auto') : options.engine);
  const threads = options.threads ?? availableParallelism();
  const matrixPool = new MatrixPool({ choice, threads, jobs: largestBatch(plan, options.sequential) });
  let forwardPool: ForwardPool | undefined;
  let folder: RunFolder | undefined;
  try {
    const sequences = windows.windows.length;
    forwardPool = new ForwardPool({ config: model.config, choice, threads, sequences, seqLen: windows.seqLen });
    const parallelism = [matrixPool, forwardPool].flatMap((pool) => [pool.workers, pool.blasThreads]);
    const fingerprint = fingerprintOf(model, windows, plan, options, choice, parallelism);
    folder = new RunFolder(`${out}.run`, fingerprint, { restart: options.force });
    refuseOutput(model, out, options, folder);
    const run = new BlockRun({ model, windows, plan, options, folder, matrixPool, forwardPool, choice, report });
    const denseOutput = await checkDenseModel(model, windows, choice, threads);
    await run.compressBlocks();
    report({ kind: 'status', text: 'writing and verifying' });
    const { textHash, hash, windows: list, seqLen } = windows;
    const record = { text: textHash, windows: hash, samples: list.length, seqLen };
    const verified = await writeCompressedModel(model, plan, folder, out, options, record, run.product);
    const compressedOutput = await outputPerplexity(out, windows, choice, threads);
    folder.remove();
    return {
      ...verified,
      plan,
      metrics: inPlanOrder(plan, run.metrics),
      denseOutput,
      compressedOutput,
      engine: createChosenEngine(choice).description,
      workers: matrixPool.workers,
      blasThreads: matrixPool.blasThreads,
      seconds: (performance.now() - start) / 1000,
      factorizationSeconds: run.factorizationSeconds,
      resumedProducts: run.resumedProducts,
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    };
  } catch (error) {
    folder?.logFailure(error);
    throw error;
  } finally {
    folder?.close();
    await Promise.allSettled([matrixPool.close(), forwardPool?.close()]);
  }
}

/** Products are finished in any order. */
function inPlanOrder(
  { units }: CompressionPlan,
  metrics: ReadonlyMap<string, FactorizationMetrics>,
): Map<string, FactorizationMetrics> {
  const names = units.flatMap(({ members }) => members.map(({ weight }) => weight));
  return new Map(names.map((name) => [name, metrics.get(name) as FactorizationMetrics]));
}

/** Whatever forbids writing to `out` is found before hours of work; a run folder made for nothing goes again. */
function refuseOutput(model: LlamaModel, out: string, options: CompressOptions, folder: RunFolder): void {
  try {
    if (model.checkpoint.format === 'double-sparse') throw compressedAlready(model.checkpoint);
    claimModelFolder(out, model.checkpoint, options.force || folder.ownsOutput);
  } catch (error) {
    if (!folder.resumed) folder.remove();
    throw error;
  }
}

/** Perplexity of what was written on a few calibration windows: it loads, and its outputs are finite. */
async function outputPerplexity(
  out: string,
  windows: LoadedWindows,
  engine: EngineChoice,
  threads: number,
): Promise<number> {
  const written = openModel(out);
  try {
    return (await perplexity(written, firstWindows(windows, threads), { engine, threads })).perplexity;
  } finally {
    written.checkpoint.close();
  }
}

/** Most jobs that can run at one time: those of one block, or of one group of a block. */
function largestBatch({ units }: CompressionPlan, sequential: CompressOptions['sequential']): number {
  const counts = new Map<string, number>();
  for (const { block, group } of units) {
    const batch = sequential === 'group' ? `${block} ${group}` : `${block}`;
    counts.set(batch, (counts.get(batch) ?? 0) + 1);
  }
  return Math.max(...counts.values());
}
