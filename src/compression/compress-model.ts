import { availableParallelism } from 'node:os';
import type { LoadedWindows } from '../calibration/load-windows.js';
import type { FactorizationMetrics } from '../factorization/factorization.js';
import { chooseEngine, createChosenEngine } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import { openModel } from '../models/llama/open-model.js';
import { BlockWalk } from './block-walk.js';
import { firstPerplexity } from './check-dense-model.js';
import type { CompressOptions } from './compress-options.js';
import type { CompressionEvent } from './compression-event.js';
import type { CompressionPlan } from './compression-plan.js';
import { CompressionRun } from './compression-run.js';
import { poolSize } from './matrix-pool.js';
import { engineOfRun } from './run-fingerprint.js';
import { RunResources } from './run-resources.js';
import type { VerifiedModel } from './write-compressed.js';

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
  // A run goes on with the engine it began with: which one is faster at this moment may have changed.
  const choice = chooseEngine(options.engine === 'auto' ? (engineOfRun(`${out}.run`) ?? 'auto') : options.engine);
  const threads = options.threads ?? availableParallelism();
  const resources = new RunResources(model, windows, { choice, threads, several: false });
  let run: CompressionRun | undefined;
  try {
    run = new CompressionRun(resources, out, options, report);
    run.open();
    const denseOutput = await resources.denseOutput();
    await new BlockWalk(resources, [run]).compress();
    const verified = await run.write();
    const compressedOutput = await outputPerplexity(out, resources);
    run.remove();
    const { plan, metrics, factorizationSeconds, resumedProducts } = run;
    return {
      ...verified,
      plan,
      metrics,
      denseOutput,
      compressedOutput,
      engine: createChosenEngine(choice).description,
      ...poolSize({ threads, jobs: run.jobs }),
      seconds: (performance.now() - start) / 1000,
      factorizationSeconds,
      resumedProducts,
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    };
  } catch (error) {
    run?.logFailure(error);
    throw error;
  } finally {
    run?.close();
    await resources.close();
  }
}

/** Perplexity of what was written on a few calibration windows: it loads, and its outputs are finite. */
async function outputPerplexity(out: string, { windows, forwardPool, choice }: RunResources): Promise<number> {
  const written = openModel(out, choice);
  try {
    return await firstPerplexity(written, windows, forwardPool);
  } finally {
    written.checkpoint.close();
  }
}
