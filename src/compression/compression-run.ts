import { existsSync, readFileSync } from 'node:fs';
import type { FactorizationMetrics } from '../factorization/factorization.js';
import { writeFileAtomically } from '../formats/atomic-file.js';
import { compressedAlready } from '../formats/container/writer.js';
import { claimModelFolder } from '../formats/model-folder.js';
import { type Matrix, stackRows } from '../linalg/matrix.js';
import type { GroupMatrices } from '../models/llama/forward-job.js';
import type { LlamaModel } from '../models/llama/model.js';
import type { BlockWeights } from '../models/llama/weights.js';
import type { CompressOptions } from './compress-options.js';
import type { CompressionEvent } from './compression-event.js';
import { type CompressionPlan, type PlannedUnit, planCompression } from './compression-plan.js';
import { checkMatching } from './matching/check-matching.js';
import { type BlockGains, type BlockToMatch, matchBlock } from './matching/match-block.js';
import { matchingBatch } from './matching/matching-batch.js';
import { type MatrixPool, poolSize } from './matrix-pool.js';
import { multiplyProduct } from './multiply-product.js';
import { type FinishedProduct, readProductFile, writeProductFile } from './product-file.js';
import { fingerprintOf } from './run-fingerprint.js';
import { type Fingerprint, RunFolder } from './run-folder.js';
import type { RunResources } from './run-resources.js';
import { type VerifiedModel, writeCompressedModel } from './write-compressed.js';

/** One method at one sparsity: its products and where they are kept until the model is written. */
export class CompressionRun {
  readonly out: string;
  readonly plan: CompressionPlan;
  readonly options: CompressOptions;
  readonly fingerprint: Fingerprint;
  /** Most jobs that can run at one time: those of one block, or of one group of a block. */
  readonly jobs: number;
  readonly report: (event: CompressionEvent) => void;
  factorizationSeconds = 0;
  /** Products that an earlier process finished. */
  resumedProducts = 0;
  readonly #resources: RunResources;
  readonly #metrics = new Map<string, FactorizationMetrics>();
  #folder: RunFolder | undefined;
  #started = Number.NaN;
  #costDone = 0;
  #done = 0;

  /**
   * Plans; nothing is touched before {@link open}.
   * @param out folder of the compressed model; the run keeps its state in `out`.run until it is done.
   * @throws DoubleSparseError of {@link planCompression} and {@link checkMatching}
   */
  constructor(
    resources: RunResources,
    out: string,
    options: CompressOptions,
    report: (event: CompressionEvent) => void,
  ) {
    this.#resources = resources;
    this.out = out;
    this.options = options;
    this.report = report;
    this.plan = planCompression(resources.model, options);
    const { windows: list, seqLen: positions } = resources.windows;
    checkMatching(options, { sequences: list.length, positions, hiddenSize: resources.model.config.hiddenSize });
    this.jobs = largestBatch(this.plan, options.sequential);
    const { windows, choice, threads, forwardSize, modelHash } = resources;
    const sizes = [poolSize({ threads, jobs: this.jobs }), forwardSize];
    if (options.blockSteps > 0) sizes.push(poolSize({ threads, jobs: matchingBatch(windows) }));
    const parallelism = sizes.flatMap(({ workers, blasThreads }) => [workers, blasThreads]);
    this.fingerprint = fingerprintOf(modelHash, windows, this.plan, options, choice, parallelism);
  }

  /**
   * Takes the run folder. Whatever forbids to write the output is found now, before hours of work.
   * @throws DoubleSparseError `run-in-use`, `run-mismatch`, `file-exists`, `file-unwritable`, `disk-full`
   */
  open(): void {
    const folder = new RunFolder(`${this.out}.run`, this.fingerprint, { restart: this.options.force });
    this.#folder = folder;
    checkOutput(this.#resources.model, this.out, this.options.force || folder.ownsOutput);
  }

  get folder(): RunFolder {
    if (!this.#folder) throw new Error(`the run of ${this.out} is not open`);
    return this.#folder;
  }

  /** By name of the weight, in the order of the plan: products are finished in any order. */
  get metrics(): ReadonlyMap<string, FactorizationMetrics> {
    const names = this.plan.units.flatMap(({ members }) => members.map(({ weight }) => weight));
    return new Map(names.map((name) => [name, this.#metrics.get(name) as FactorizationMetrics]));
  }

  /** Files are whole or absent; each is read once, where it is needed. */
  isFinished({ name }: PlannedUnit): boolean {
    return existsSync(this.folder.productPath(name));
  }

  /** Number of blocks from the first on whose products are all there. */
  finishedBlocks(): number {
    const { layers } = this.#resources.model.config;
    const isOpen = (unit: PlannedUnit): boolean => !this.isFinished(unit) || !this.isMatched(unit.block);
    return Math.min(layers, ...this.plan.units.filter(isOpen).map(({ block }) => block));
  }

  /** Is there nothing to do for a block behind its factorisation? */
  isMatched(block: number): boolean {
    return this.options.blockSteps === 0 || existsSync(this.folder.gainsPath(block));
  }

  /** Matches a block whose products are finished and in place, and stores the products anew. */
  async match(
    block: number,
    states: Omit<BlockToMatch, 'shape' | 'products' | 'install' | 'before' | 'compute'>,
  ): Promise<void> {
    const { model, windows, rotary, matchingPool } = this.#resources;
    const { blockSteps: steps, seed } = this.options;
    const units = this.plan.units.filter((unit) => unit.block === block);
    const finished = new Map(units.map((unit) => [unit.name, this.#finished(unit)]));
    const batch = matchingBatch(windows);
    const heldOut = Math.max(1, Math.round(windows.windows.length / 12));
    const matched = await matchBlock(
      matchingPool,
      {
        ...states,
        shape: { config: model.config, layer: block, rotary, seqLen: windows.seqLen },
        products: units.map((unit) => ({ unit, factors: (finished.get(unit.name) as FinishedProduct).factors })),
        install: (unit, factors) => this.#install(unit, factors, states.weights),
        before: this.#gains(block - 1),
        compute: this.#resources.compute,
      },
      { steps, batch, seed, heldOut },
    );
    for (const { unit, factors } of matched.products) {
      const { metrics } = finished.get(unit.name) as FinishedProduct;
      writeProductFile(this.folder.matchedPath(unit.name), unit, { factors, metrics });
    }
    writeFileAtomically(this.folder.gainsPath(block), `${JSON.stringify(matched.gains)}\n`);
    this.folder.log({ event: 'matched', block, gains: matched.gains });
    this.report({ kind: 'matched', block, gains: matched.gains });
  }

  /** Starts the clock, and books what an earlier process finished in the first `blocks` blocks. */
  begin(blocks: number): void {
    this.#started = performance.now();
    for (const unit of this.plan.units) if (unit.block < blocks) this.#book(unit, this.#finished(unit), true);
    if (!this.folder.resumed) return;
    const finished = this.plan.units.filter((unit) => this.isFinished(unit)).length;
    this.report({ kind: 'resumed', finished, total: this.plan.units.length });
  }

  /**
   * Factorises units of one block and stores their products. All of them end before an error is thrown: what they
   * computed is kept.
   * @param weights the dense ones.
   */
  async factorize(units: readonly PlannedUnit[], weights: BlockWeights, grams: GroupMatrices): Promise<void> {
    if (units.length === 0) return;
    const pool = await this.#resources.matrixPool(this.jobs);
    const start = performance.now();
    const longestFirst = [...units].sort((a, b) => costOf(b) - costOf(a));
    const outcomes = await Promise.allSettled(longestFirst.map((unit) => this.#factorize(unit, weights, grams, pool)));
    this.factorizationSeconds += (performance.now() - start) / 1000;
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** Books what an earlier process finished. */
  bookEarlier(units: readonly PlannedUnit[]): void {
    for (const unit of units) this.#book(unit, this.#finished(unit), true);
  }

  /** Puts finished products, matched ones where they are, in place of the dense weights of their members. */
  install(units: readonly PlannedUnit[], weights: BlockWeights): void {
    for (const unit of units) this.#install(unit, this.#last(unit).factors, weights);
  }

  /** Writes the model from the finished products and verifies it. @throws DoubleSparseError of {@link writeCompressedModel} */
  async write(): Promise<VerifiedModel> {
    const { model, windows } = this.#resources;
    const { textHash, hash, windows: list, seqLen } = windows;
    const record = { text: textHash, windows: hash, samples: list.length, seqLen };
    this.report({ kind: 'status', text: 'writing and verifying' });
    const last = (unit: PlannedUnit): FinishedProduct => this.#last(unit);
    return writeCompressedModel(model, this.plan, this.folder, this.out, this.options, record, last);
  }

  /** Notes in the run folder what stopped the run. */
  logFailure(error: unknown): void {
    this.#folder?.logFailure(error);
  }

  /** Removes the folder of a run that is done. */
  remove(): void {
    this.folder.remove();
    this.folder.close();
  }

  /** Gives the folder free. What was computed stays in it; one that was made for nothing goes. */
  close(): void {
    if (!this.#folder) return;
    if (!this.#folder.resumed && Number.isNaN(this.#started)) this.#folder.remove();
    this.#folder.close();
  }

  #install(unit: PlannedUnit, factors: readonly Matrix[], weights: BlockWeights): void {
    const { compute, threads } = this.#resources;
    compute.engine.setThreads(threads);
    const targets = unit.members.map(({ module }) => weights.linear[module].weight);
    multiplyProduct(factors, targets, compute);
  }

  #gains(block: number): BlockGains | undefined {
    const path = this.folder.gainsPath(block);
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as BlockGains) : undefined;
  }

  /** The product as it is written to the model. */
  #last(unit: PlannedUnit): FinishedProduct {
    if (this.options.blockSteps === 0 || !this.isMatched(unit.block)) return this.#finished(unit);
    return readProductFile(this.folder.matchedPath(unit.name), unit);
  }

  #finished(unit: PlannedUnit): FinishedProduct {
    return readProductFile(this.folder.productPath(unit.name), unit);
  }

  async #factorize(unit: PlannedUnit, weights: BlockWeights, grams: GroupMatrices, pool: MatrixPool): Promise<void> {
    const { sparsity, effort, seed } = this.options;
    const results = await pool.run({
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
  #book(unit: PlannedUnit, { metrics }: FinishedProduct, earlier: boolean): void {
    for (const [name, each] of Object.entries(metrics)) this.#metrics.set(name, each);
    this.#done++;
    if (earlier) {
      this.resumedProducts++;
      return;
    }
    const total = this.plan.units.reduce((sum, each) => sum + costOf(each), 0);
    this.#costDone += costOf(unit);
    const before = this.plan.units
      .filter((each) => this.#metrics.has(each.members[0]?.weight ?? ''))
      .reduce((sum, each) => sum + costOf(each), 0);
    const elapsed = (performance.now() - this.#started) / 1000;
    const eta = this.#done === 1 ? undefined : (elapsed * (total - before)) / this.#costDone;
    this.report({ kind: 'product', done: this.#done, total: this.plan.units.length, unit, metrics, eta });
  }
}

/**
 * Can a model be compressed to this folder? Makes nothing.
 * @throws DoubleSparseError `option-out-of-range`, `file-exists`, `file-unwritable`
 */
export function checkOutput({ checkpoint }: LlamaModel, out: string, replace: boolean): void {
  if (checkpoint.format === 'double-sparse') throw compressedAlready(checkpoint);
  claimModelFolder(out, checkpoint, replace);
}

/** In proportion to the operations of a factorisation. */
function costOf({ members }: PlannedUnit): number {
  const rows = members.reduce((sum, member) => sum + member.rows, 0);
  const columns = members[0]?.columns ?? 0;
  return rows * columns * (4 * Math.min(rows, columns) + columns);
}

function largestBatch({ units }: CompressionPlan, sequential: CompressOptions['sequential']): number {
  const counts = new Map<string, number>();
  for (const { block, group } of units) {
    const batch = sequential === 'group' ? `${block} ${group}` : `${block}`;
    counts.set(batch, (counts.get(batch) ?? 0) + 1);
  }
  return Math.max(...counts.values());
}
