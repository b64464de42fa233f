import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { TokenWindows } from '../calibration/windows.js';
import { DoubleSparseError } from '../errors.js';
import { perplexity } from '../evaluation/perplexity.js';
import type { FactorizationMetrics } from '../factorization/factorization.js';
import { Compute } from '../linalg/compute.js';
import { chooseEngine, createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { Matrix } from '../linalg/matrix.js';
import { stackRows } from '../linalg/matrix.js';
import { sharedZeros } from '../linalg/shared-matrix.js';
import { embed } from '../models/llama/embedding.js';
import { ForwardPool, type Gathered } from '../models/llama/forward-pool.js';
import type { LlamaModel } from '../models/llama/model.js';
import { type LinearGroup, linearGroups } from '../models/llama/tensors.js';
import { type BlockWeights, newBlockWeights } from '../models/llama/weights.js';
import type { CompressOptions } from './compress-options.js';
import { type CompressionPlan, type PlannedUnit, planCompression } from './compression-plan.js';
import { readHiddenStates, writeHiddenStates } from './hidden-states-file.js';
import { MatrixPool } from './matrix-pool.js';
import { multiplyProduct } from './multiply-product.js';
import { type FinishedProduct, readProductFile, writeProductFile } from './product-file.js';
import { type Fingerprint, RunFolder } from './run-folder.js';
import { type VerifiedModel, writeCompressedModel } from './write-compressed.js';

/** Version of everything that decides a run's bytes; another one does not go on with its products. */
const runVersion = 1;

/** Outer progress of a run, told as it happens. */
export type CompressionEvent =
  | { kind: 'status'; text: string }
  | { kind: 'resumed'; finished: number; total: number }
  | {
      kind: 'product';
      done: number;
      total: number;
      unit: PlannedUnit;
      metrics: FinishedProduct['metrics'];
      /** Seconds left by the operations of what is left, undefined at first. */
      eta: number | undefined;
    };

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
  windows: TokenWindows,
  out: string,
  options: CompressOptions,
  report: (event: CompressionEvent) => void = () => {},
): Promise<CompressionResult> {
  const start = performance.now();
  const plan = planCompression(model, options);
  const choice = chooseEngine(options.engine);
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
    const run = new BlockRun(model, windows, plan, options, folder, matrixPool, forwardPool, choice, report);
    await checkDenseModel(model, windows, choice, threads);
    await run.compressBlocks();
    report({ kind: 'status', text: 'writing and verifying' });
    const verified = await writeCompressedModel(model, plan, folder, out, options, run.product);
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

function fingerprintOf(
  model: LlamaModel,
  windows: TokenWindows,
  plan: CompressionPlan,
  options: CompressOptions,
  choice: EngineChoice,
  parallelism: readonly number[],
): Fingerprint {
  const { checkpoint } = model;
  const tensors = [...checkpoint.tensors.values()].map(({ name, shape, dtype, bytes }) => [name, shape, dtype, bytes]);
  const hash = createHash('sha256').update(JSON.stringify([checkpoint.config, tensors]));
  // Headers alone would not tell a fine-tuned model from its base.
  for (const name of ['model.norm.weight', plan.units[0]?.members[0]?.weight ?? '']) {
    const { data } = checkpoint.read(name);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  const { sparsity, effort, seed, sequential } = options;
  return {
    version: runVersion,
    model: hash.digest('hex'),
    calibration: windows.hash,
    method: plan.method,
    sparsity,
    effort,
    seed,
    sequential,
    weights: createHash('sha256').update(JSON.stringify(plan.units)).digest('hex'),
    engine: createChosenEngine(choice).description,
    parallelism,
  };
}

/** A model whose loss is that of guessing is broken already: no run should end with that discovery. */
async function checkDenseModel(
  model: LlamaModel,
  windows: TokenWindows,
  engine: EngineChoice,
  threads: number,
): Promise<void> {
  const few = { ...windows, windows: windows.windows.slice(0, threads) };
  const { perplexity: dense } = await perplexity(model, few, { engine, threads });
  const { vocabularySize } = model.config;
  if (dense < vocabularySize) return;
  throw new DoubleSparseError(
    'verification-failed',
    `the dense model has perplexity ${dense.toPrecision(4)} on the calibration text: no better than guessing among its ${vocabularySize} tokens`,
    {
      data: { perplexity: dense, vocabularySize },
      hint: 'the checkpoint is damaged, or its tokenizer belongs to another model; try dsf eval, and download it again',
    },
  );
}

/** The blocks of one run, one after the other. */
class BlockRun {
  readonly metrics = new Map<string, FactorizationMetrics>();
  factorizationSeconds = 0;
  resumedProducts = 0;
  readonly #hidden: Matrix[];
  readonly #compute: Compute;
  readonly #started = performance.now();
  #costDone = 0;
  #done = 0;

  constructor(
    readonly model: LlamaModel,
    readonly windows: TokenWindows,
    readonly plan: CompressionPlan,
    readonly options: CompressOptions,
    readonly folder: RunFolder,
    readonly matrixPool: MatrixPool,
    readonly forwardPool: ForwardPool,
    choice: EngineChoice,
    readonly report: (event: CompressionEvent) => void,
  ) {
    this.#hidden = windows.windows.map(() => sharedZeros(windows.seqLen, model.config.hiddenSize));
    this.#compute = new Compute(createChosenEngine(choice));
  }

  /** The finished product of a unit. @throws DoubleSparseError `file-malformed` */
  readonly product = (unit: PlannedUnit): FinishedProduct | undefined =>
    readProductFile(this.folder.productPath(unit.name), unit);

  async compressBlocks(): Promise<void> {
    const { model, plan, folder } = this;
    const buffer = newBlockWeights(model.config);
    const first = await this.#restore(buffer);
    for (let block = first; block < model.config.layers; block++) {
      const weights = model.readBlock(block, buffer);
      const units = plan.units.filter((unit) => unit.block === block);
      folder.log({ event: 'block', block });
      for (const groups of this.options.sequential === 'group'
        ? linearGroups.map((group) => [group])
        : [linearGroups]) {
        await this.#compressGroups(block, weights, units, groups);
      }
      await this.#advance(block, weights);
      writeHiddenStates(folder.hiddenStatesPath, block + 1, this.#hidden);
    }
  }

  /**
   * Brings hidden states behind the last block whose products are all there, and books its products.
   * @returns the first block that is not finished.
   */
  async #restore(buffer: BlockWeights): Promise<number> {
    const { model, plan, folder, windows } = this;
    const isFinished = (unit: PlannedUnit): boolean => this.product(unit) !== undefined;
    let finished = 0;
    while (finished < model.config.layers && plan.units.filter(({ block }) => block === finished).every(isFinished))
      finished++;
    // A model may have blocks without any unit: only what is stored counts as progress.
    const stored = folder.resumed ? (readHiddenStates(folder.hiddenStatesPath, this.#hidden) ?? 0) : 0;
    if (stored === 0 || stored > finished) {
      const embedding = model.readEmbedding();
      for (const [i, ids] of windows.windows.entries()) embed(embedding, ids, this.#hidden[i] as Matrix);
    }
    for (let block = stored > finished ? 0 : stored; block < finished; block++) {
      const weights = model.readBlock(block, buffer);
      for (const unit of plan.units)
        if (unit.block === block) this.#install(unit, weights, this.product(unit) as FinishedProduct);
      await this.#advance(block, weights);
    }
    for (const unit of plan.units)
      if (unit.block < finished) this.#book(unit, this.product(unit) as FinishedProduct, true);
    if (folder.resumed) this.report({ kind: 'resumed', finished: this.#done, total: plan.units.length });
    return finished;
  }

  async #compressGroups(
    block: number,
    weights: BlockWeights,
    units: readonly PlannedUnit[],
    groups: readonly LinearGroup[],
  ): Promise<void> {
    const mine = units.filter(({ group }) => groups.includes(group));
    if (mine.length === 0) return;
    const open = mine.filter((unit) => this.product(unit) === undefined);
    if (open.length > 0) {
      const wanted = groups.filter((group) => open.some((unit) => unit.group === group));
      this.report({ kind: 'status', text: `block ${block}: gathering inputs` });
      const gathered = await this.forwardPool.gather(block, weights, this.#hidden, { groups: wanted });
      const start = performance.now();
      const longestFirst = [...open].sort((a, b) => costOf(b) - costOf(a));
      // All of them end before an error is thrown: what they computed is kept.
      const outcomes = await Promise.allSettled(longestFirst.map((unit) => this.#factorize(unit, weights, gathered)));
      this.factorizationSeconds += (performance.now() - start) / 1000;
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    }
    for (const unit of mine) {
      const product = this.product(unit) as FinishedProduct;
      if (!open.includes(unit)) this.#book(unit, product, true);
      this.#install(unit, weights, product);
    }
  }

  async #factorize(unit: PlannedUnit, weights: BlockWeights, { grams }: Gathered): Promise<void> {
    const { sparsity, effort, seed } = this.options;
    const results = await this.matrixPool.run({
      method: this.plan.method,
      options: { sparsity, effort, seed },
      members: unit.members.map(({ weight, module }) => ({ name: weight, weight: weights.linear[module].weight })),
      gram: grams[unit.group] as Matrix,
      gramName: `the Gram matrix of the inputs of ${unit.name}`,
      storedAs: unit.dtype,
    });
    const parts = results.map(({ factors }) => factors?.[0] as Matrix);
    const shared = results[0]?.factors?.slice(1) ?? [];
    const metrics = Object.fromEntries(results.map((result) => [result.name, result.metrics]));
    const product = { factors: [stackRows(parts), ...shared], metrics };
    writeProductFile(this.folder.productPath(unit.name), unit, product);
    this.folder.log({ event: 'product', name: unit.name, metrics });
    this.#book(unit, product, false);
  }

  /** Puts the product in place of the dense weights of its members. */
  #install(unit: PlannedUnit, weights: BlockWeights, { factors }: FinishedProduct): void {
    multiplyProduct(
      factors,
      unit.members.map(({ module }) => weights.linear[module].weight),
      this.#compute,
    );
  }

  async #advance(block: number, weights: BlockWeights): Promise<void> {
    this.report({ kind: 'status', text: `block ${block}: on to the next` });
    await this.forwardPool.advance(block, weights, this.#hidden);
  }

  #book(unit: PlannedUnit, { metrics }: FinishedProduct, earlier: boolean): void {
    for (const [name, each] of Object.entries(metrics)) this.metrics.set(name, each);
    this.#done++;
    if (earlier) {
      this.resumedProducts++;
      return;
    }
    const total = this.plan.units.reduce((sum, each) => sum + costOf(each), 0);
    this.#costDone += costOf(unit);
    const before = this.plan.units
      .filter((each) => this.metrics.has(each.members[0]?.weight ?? ''))
      .reduce((sum, each) => sum + costOf(each), 0);
    const elapsed = (performance.now() - this.#started) / 1000;
    const eta = this.#done === 1 ? undefined : (elapsed * (total - before)) / this.#costDone;
    this.report({ kind: 'product', done: this.#done, total: this.plan.units.length, unit, metrics, eta });
  }
}

/** In proportion to the operations of a factorisation. */
function costOf({ members }: PlannedUnit): number {
  const rows = members.reduce((sum, member) => sum + member.rows, 0);
  const columns = members[0]?.columns ?? 0;
  return rows * columns * (4 * Math.min(rows, columns) + columns);
}
