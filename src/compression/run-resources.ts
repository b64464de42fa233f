import type { LoadedWindows } from '../calibration/load-windows.js';
import { Compute } from '../linalg/compute.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { Matrix } from '../linalg/matrix.js';
import { sharedZeros } from '../linalg/shared-matrix.js';
import type { GroupMatrices } from '../models/llama/forward-job.js';
import { ForwardPool } from '../models/llama/forward-pool.js';
import type { LlamaModel } from '../models/llama/model.js';
import { type RotaryTable, rotaryTable } from '../models/llama/rope.js';
import type { LinearGroup } from '../models/llama/tensors.js';
import { TrainingPool } from '../training/training-pool.js';
import { checkDenseModel } from './check-dense-model.js';
import type { MatchingPool } from './matching/match-part.js';
import { matchingBatch } from './matching/matching-batch.js';
import { MatrixPool, type PoolSize, poolSize } from './matrix-pool.js';
import { modelHash } from './run-fingerprint.js';

export interface RunResourcesOptions {
  readonly choice: EngineChoice;
  readonly threads: number;
  /** Will several runs use them? Then the first block's Gram matrices are kept in memory. */
  readonly several: boolean;
}

/**
 * What runs over one model and one calibration text have in common: worker threads, and all that does not depend on
 * what was compressed. A run gives the same bytes with resources of its own.
 */
export class RunResources {
  readonly model: LlamaModel;
  readonly windows: LoadedWindows;
  readonly choice: EngineChoice;
  readonly threads: number;
  /** Of {@link forwardPool}. */
  readonly forwardSize: PoolSize;
  /** For whole products; the main thread's. */
  readonly compute: Compute;
  /** Seconds of work that is done once for all runs. */
  sharedSeconds = 0;
  readonly #firstGrams: Partial<Record<LinearGroup, Matrix>> | undefined;
  #forwardPool: ForwardPool | undefined;
  #matrixPool: MatrixPool | undefined;
  #matchingPool: MatchingPool | undefined;
  #rotary: RotaryTable | undefined;
  #denseOutput: number | undefined;
  #modelHash: string | undefined;

  constructor(model: LlamaModel, windows: LoadedWindows, { choice, threads, several }: RunResourcesOptions) {
    this.model = model;
    this.windows = windows;
    this.choice = choice;
    this.threads = threads;
    this.compute = new Compute(createChosenEngine(choice));
    this.#firstGrams = several ? {} : undefined;
    this.forwardSize = poolSize({ threads, jobs: windows.windows.length });
  }

  /** See {@link modelHash}. */
  get modelHash(): string {
    this.#modelHash ??= modelHash(this.model);
    return this.#modelHash;
  }

  /** Threads for the calibration windows, started at first use. */
  get forwardPool(): ForwardPool {
    const { model, windows, choice, threads } = this;
    const { seqLen } = windows;
    const sequences = windows.windows.length;
    this.#forwardPool ??= new ForwardPool({ config: model.config, choice, threads, sequences, seqLen });
    return this.#forwardPool;
  }

  /** Threads for so many jobs at one time. Those of an earlier run stay if they are as many. */
  async matrixPool(jobs: number): Promise<MatrixPool> {
    const { choice, threads } = this;
    if (this.#matrixPool?.workers !== poolSize({ threads, jobs }).workers) {
      await this.#matrixPool?.close();
      this.#matrixPool = new MatrixPool({ choice, threads, jobs });
    }
    return this.#matrixPool;
  }

  /** Threads that match blocks, started at first use. */
  get matchingPool(): MatchingPool {
    const { choice, threads, windows } = this;
    this.#matchingPool ??= new TrainingPool({
      program: 'compression/matching/matching-worker.js',
      choice,
      threads,
      examples: matchingBatch(windows),
    });
    return this.#matchingPool;
  }

  /** For calibration windows. */
  get rotary(): RotaryTable {
    const { rope, headSize } = this.model.config;
    this.#rotary ??= rotaryTable(rope, headSize, this.windows.seqLen);
    return this.#rotary;
  }

  /** See {@link checkDenseModel}. */
  async denseOutput(): Promise<number> {
    if (this.#denseOutput === undefined) {
      const start = performance.now();
      this.#denseOutput = await checkDenseModel(this.model, this.windows, this.forwardPool);
      this.sharedSeconds += (performance.now() - start) / 1000;
    }
    return this.#denseOutput;
  }

  /**
   * Gram matrices of the first block before anything is compressed.
   * @param gather computes those of some groups.
   */
  async firstGrams(
    groups: readonly LinearGroup[],
    gather: (groups: readonly LinearGroup[]) => Promise<GroupMatrices>,
  ): Promise<GroupMatrices> {
    const known = this.#firstGrams;
    if (!known) return gather(groups);
    const missing = groups.filter((group) => !known[group]);
    if (missing.length > 0) {
      const start = performance.now();
      const grams = await gather(missing);
      for (const group of missing) known[group] = sharedCopy(grams[group] as Matrix);
      this.sharedSeconds += (performance.now() - start) / 1000;
    }
    return known;
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#matrixPool?.close(), this.#forwardPool?.close(), this.#matchingPool?.close()]);
  }
}

function sharedCopy({ rows, columns, data }: Matrix): Matrix {
  const copy = sharedZeros(rows, columns);
  copy.data.set(data);
  return copy;
}
