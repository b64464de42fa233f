import { availableParallelism } from 'node:os';
import type { LoadedWindows } from '../calibration/load-windows.js';
import type { FactorizationMetrics } from '../factorization/factorization.js';
import { chooseEngine, createChosenEngine } from '../linalg/engines/select.js';
import { ForwardPool } from '../models/llama/forward-pool.js';
import type { LlamaModel } from '../models/llama/model.js';
import { BlockRun } from './block-run.js';
import { checkDenseModel } from './check-dense-model.js';
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
  const matrixPool = new MatrixPool({ choice, threads, jobs: largestBatch(plan) });
  const { config } = model;
  const forwardPool = new ForwardPool({
    config,
    choice,
    threads,
    sequences: windows.windows.length,
    seqLen: windows.seqLen,
  });
  const { workers, blasThreads } = matrixPool;
  let folder: RunFolder | undefined;
  try {
    folder = new RunFolder(`${out}.run`, fingerprintOf(model, windows, plan, options, choice, [workers, blasThreads]), {
      restart: options.force,
    });
    const run = new BlockRun({ model, windows, plan, options, folder, matrixPool, forwardPool, choice, report });
    if (!folder.resumed) await checkDenseModel(model, windows, choice, threads);
    await run.compressBlocks();
    report({ kind: 'status', text: 'writing and verifying' });
    const { textHash, hash, windows: list, seqLen } = windows;
    const record = { text: textHash, windows: hash, samples: list.length, seqLen };
    const verified = await writeCompressedModel(model, plan, folder, out, options, record, run.product);
    folder.remove();
    return {
      ...verified,
      plan,
      metrics: run.metrics,
      engine: createChosenEngine(choice).description,
      workers,
      blasThreads,
      seconds: (performance.now() - start) / 1000,
      factorizationSeconds: run.factorizationSeconds,
      resumedProducts: run.resumedProducts,
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    };
  } catch (error) {
    folder?.log({ event: 'failed', message: error instanceof Error ? error.message : String(error) });
    throw error;
  } finally {
    folder?.close();
    await Promise.allSettled([matrixPool.close(), forwardPool.close()]);
  }
}

/** Most jobs that can run at one time: those of one block. */
function largestBatch({ units }: CompressionPlan): number {
  const counts = new Map<number, number>();
  for (const { block } of units) counts.set(block, (counts.get(block) ?? 0) + 1);
  return Math.max(...counts.values());
}
