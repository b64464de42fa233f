import { existsSync } from 'node:fs';
import type { TokenWindows } from '../calibration/windows.js';
import type { FactorizationMetrics } from '../factorization/factorization.js';
import { Compute } from '../linalg/compute.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import { type Matrix, stackRows } from '../linalg/matrix.js';
import { sharedZeros } from '../linalg/shared-matrix.js';
import { embed } from '../models/llama/embedding.js';
import type { ForwardPool, Gathered } from '../models/llama/forward-pool.js';
import type { LlamaModel } from '../models/llama/model.js';
import { type LinearGroup, linearGroups } from '../models/llama/tensors.js';
import { type BlockWeights, newBlockWeights } from '../models/llama/weights.js';
import type { CompressOptions } from './compress-options.js';
import type { CompressionEvent } from './compression-event.js';
import type { CompressionPlan, PlannedUnit } from './compression-plan.js';
import { readHiddenStates, writeHiddenStates } from './hidden-states-file.js';
import type { MatrixPool } from './matrix-pool.js';
import { multiplyProduct } from './multiply-product.js';
import { type FinishedProduct, readProductFile, writeProductFile } from './product-file.js';
import type { RunFolder } from './run-folder.js';

export interface BlockRunParts {
  readonly model: LlamaModel;
  readonly windows: TokenWindows;
  readonly plan: CompressionPlan;
  readonly options: CompressOptions;
  readonly folder: RunFolder;
  readonly matrixPool: MatrixPool;
  readonly forwardPool: ForwardPool;
  readonly choice: EngineChoice;
  readonly report: (event: CompressionEvent) => void;
}

/** The blocks of one run, one after the other: gather inputs, factorise, go on through what was stored. */
export class BlockRun {
  readonly metrics = new Map<string, FactorizationMetrics>();
  factorizationSeconds = 0;
  resumedProducts = 0;
  readonly #parts: BlockRunParts;
  readonly #hidden: Matrix[];
  readonly #compute: Compute;
  readonly #started = performance.now();
  /** Number of blocks behind which the hidden states are, where the file does not know it yet. */
  #unsaved: number | undefined;
  #costDone = 0;
  #done = 0;

  constructor(parts: BlockRunParts) {
    this.#parts = parts;
    const { windows, model, choice } = parts;
    this.#hidden = windows.windows.map(() => sharedZeros(windows.seqLen, model.config.hiddenSize));
    this.#compute = new Compute(createChosenEngine(choice));
  }

  /** The finished product of a unit. @throws DoubleSparseError `file-malformed` */
  readonly product = (unit: PlannedUnit): FinishedProduct | undefined =>
    readProductFile(this.#parts.folder.productPath(unit.name), unit);

  async compressBlocks(): Promise<void> {
    const { model, plan, folder } = this.#parts;
    const buffer = newBlockWeights(model.config);
    const first = await this.#restore(buffer);
    for (let block = first; block < model.config.layers; block++) {
      const weights = model.readBlock(block, buffer);
      const units = plan.units.filter((unit) => unit.block === block);
      folder.log({ event: 'block', block });
      for (const groups of this.#parts.options.sequential === 'group'
        ? linearGroups.map((group) => [group])
        : [linearGroups]) {
        await this.#compressGroups(block, weights, units, groups);
      }
      this.#saveHidden();
      await this.#advance(block, weights);
      // The last block's outputs are nobody's inputs.
      if (block + 1 < model.config.layers) this.#unsaved = block + 1;
    }
  }

  /** Writes the hidden states if that is due: a block is not computed again after an interruption. */
  #saveHidden(): void {
    if (this.#unsaved === undefined) return;
    writeHiddenStates(this.#parts.folder.hiddenStatesPath, this.#unsaved, this.#hidden);
    this.#unsaved = undefined;
  }

  /**
   * Brings hidden states behind the last block whose products are all there, and books its products.
   * @returns the first block that is not finished.
   */
  async #restore(buffer: BlockWeights): Promise<number> {
    const { model, plan, folder, windows } = this.#parts;
    // Files are whole or absent; each is read once, where it is needed.
    const isFinished = ({ name }: PlannedUnit): boolean => existsSync(folder.productPath(name));
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
    if (folder.resumed) {
      const there = plan.units.filter(isFinished).length;
      this.#parts.report({ kind: 'resumed', finished: there, total: plan.units.length });
    }
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
      this.#parts.report({ kind: 'status', text: `block ${block}: gathering inputs` });
      const gathering = this.#parts.forwardPool.gather(block, weights, this.#hidden, { groups: wanted });
      try {
        // The threads compute meanwhile, and only read the states.
        this.#saveHidden();
      } catch (error) {
        await Promise.allSettled([gathering]);
        throw error;
      }
      const gathered = await gathering;
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
    const { sparsity, effort, seed } = this.#parts.options;
    const results = await this.#parts.matrixPool.run({
      method: this.#parts.plan.method,
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
    writeProductFile(this.#parts.folder.productPath(unit.name), unit, product);
    this.#parts.folder.log({ event: 'product', name: unit.name, metrics });
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
    this.#parts.report({ kind: 'status', text: `block ${block}: on to the next` });
    await this.#parts.forwardPool.advance(block, weights, this.#hidden);
  }

  #book(unit: PlannedUnit, { metrics }: FinishedProduct, earlier: boolean): void {
    for (const [name, each] of Object.entries(metrics)) this.metrics.set(name, each);
    this.#done++;
    if (earlier) {
      this.resumedProducts++;
      return;
    }
    const total = this.#parts.plan.units.reduce((sum, each) => sum + costOf(each), 0);
    this.#costDone += costOf(unit);
    const before = this.#parts.plan.units
      .filter((each) => this.metrics.has(each.members[0]?.weight ?? ''))
      .reduce((sum, each) => sum + costOf(each), 0);
    const elapsed = (performance.now() - this.#started) / 1000;
    const eta = this.#done === 1 ? undefined : (elapsed * (total - before)) / this.#costDone;
    this.#parts.report({ kind: 'product', done: this.#done, total: this.#parts.plan.units.length, unit, metrics, eta });
  }
}

/** In proportion to the operations of a factorisation. */
function costOf({ members }: PlannedUnit): number {
  const rows = members.reduce((sum, member) => sum + member.rows, 0);
  const columns = members[0]?.columns ?? 0;
  return rows * columns * (4 * Math.min(rows, columns) + columns);
}
