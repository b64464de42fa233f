import type { Matrix } from '../linalg/matrix.js';
import { reusedShared } from '../linalg/shared-matrix.js';
import { embed } from '../models/llama/embedding.js';
import type { GroupMatrices } from '../models/llama/forward-job.js';
import { type LinearGroup, linearGroups } from '../models/llama/tensors.js';
import { type BlockWeights, newBlockWeights } from '../models/llama/weights.js';
import type { CompressOptions } from './compress-options.js';
import type { PlannedUnit } from './compression-plan.js';
import type { CompressionRun } from './compression-run.js';
import { hiddenStatesLimit, type KeptHiddenStates, keptHiddenStates } from './hidden-states.js';
import type { RunResources } from './run-resources.js';

/**
 * Takes the calibration windows through the blocks of a model, one block after the other: gathers the inputs of its
 * matrices, has them factorised, goes on.
 *
 * One run walks through what it stored itself (`sequential` block and group). In `dense` the inputs are those of the
 * dense model: one pass through a block gathers and goes on, for any number of runs. Their hidden states are kept in
 * the folder of the first.
 */
export class BlockWalk {
  readonly #resources: RunResources;
  readonly #runs: readonly CompressionRun[];
  readonly #sequential: CompressOptions['sequential'];
  readonly #states: KeptHiddenStates;
  /** Those of the dense model, which blocks are matched to. */
  readonly #denseStates: KeptHiddenStates | undefined;
  readonly #allocate = reusedShared();

  /** @param runs open ones with the same options but method and sparsity; more than one only in `dense`. */
  constructor(resources: RunResources, runs: readonly [CompressionRun, ...CompressionRun[]]) {
    this.#resources = resources;
    this.#runs = runs;
    const [{ folder, options }] = runs;
    this.#sequential = options.sequential;
    const { windows, seqLen } = resources.windows;
    const { hiddenSize } = resources.model.config;
    const shape = { sequences: windows.length, positions: seqLen, hiddenSize };
    this.#states = keptHiddenStates(folder.hiddenStatesPath, shape, hiddenStatesLimit(options));
    if (options.blockSteps > 0)
      this.#denseStates = keptHiddenStates(folder.denseHiddenStatesPath, shape, hiddenStatesLimit(options));
  }

  /**
   * Brings all products of all runs into their folders.
   * @returns wall seconds that belong to no run alone.
   * @throws DoubleSparseError of reading, calibration, factorising and writing
   */
  async compress(): Promise<number> {
    const start = performance.now();
    const { layers } = this.#resources.model.config;
    const finished = Math.min(...this.#runs.map((run) => run.finishedBlocks()));
    for (const run of this.#runs) run.begin(finished);
    try {
      if (finished < layers) await this.#compressFrom(finished);
    } finally {
      this.#states.close();
      this.#denseStates?.close();
    }
    const own = this.#runs.reduce((sum, { factorizationSeconds }) => sum + factorizationSeconds, 0);
    return (performance.now() - start) / 1000 - own;
  }

  async #compressFrom(first: number): Promise<void> {
    const { model } = this.#resources;
    const buffer = newBlockWeights(model.config);
    await this.#restore(this.#states, first, buffer, (block, weights) =>
      this.#install(weights, (unit) => unit.block === block),
    );
    const denseBuffer = this.#denseStates && newBlockWeights(model.config);
    if (this.#denseStates) await this.#restore(this.#denseStates, first, buffer, () => {});
    for (let block = first; block < model.config.layers; block++) {
      const weights = model.readBlock(block, buffer);
      for (const run of this.#runs) run.folder.log({ event: 'block', block });
      // The last block's outputs are nobody's inputs.
      const more = block + 1 < model.config.layers;
      if (this.#sequential === 'dense') {
        await this.#compressGroups(block, weights, linearGroups, more);
        this.#states.save();
        continue;
      }
      for (const groups of this.#sequential === 'group' ? linearGroups.map((group) => [group]) : [linearGroups])
        await this.#compressGroups(block, weights, groups, false);
      if (denseBuffer) {
        await this.#match(block, weights, model.readBlock(block, denseBuffer));
        continue;
      }
      if (!more) continue;
      this.#states.save();
      await this.#advance(block, weights);
    }
  }

  /** Brings hidden states behind the first `finished` blocks. @param install puts what is not dense into a block. */
  async #restore(
    states: KeptHiddenStates,
    finished: number,
    buffer: BlockWeights,
    install: (block: number, weights: BlockWeights) => void,
  ): Promise<void> {
    const { model, windows } = this.#resources;
    // A model may have blocks without any unit: only what is stored counts as progress.
    if (!states.restore(finished)) {
      const embedding = model.readEmbedding();
      states.start((sequence, target) => embed(embedding, windows.windows[sequence] as Uint32Array, target));
    }
    while (states.blocks < finished) {
      const block = states.blocks;
      const weights = model.readBlock(block, buffer);
      install(block, weights);
      await this.#advance(block, weights, states);
    }
  }

  /** Matches a compressed block, and takes the hidden states of both models through it. */
  async #match(block: number, weights: BlockWeights, dense: BlockWeights): Promise<void> {
    this.#status(`block ${block}: matching the dense model`);
    const [states, denseModel] = [this.#states, this.#denseStates as KeptHiddenStates];
    const allocate = this.#allocate;
    // One run: more than one go in `dense` alone. One batch: blocks are matched in memory.
    const [run] = this.#runs as [CompressionRun];
    for (const { hidden: compressed } of states.batches(1, true)) {
      const ownRoom = compressed.map(({ rows, columns }, i): Matrix => {
        return { rows, columns, data: allocate(`own outputs ${i}`, rows * columns) };
      });
      for (const { hidden: denseStates } of denseModel.batches(1, true))
        await run.match(block, { dense, weights, compressed, denseStates, ownRoom, allocate });
    }
    // Behind this block, whose products are stored by now.
    states.save();
    denseModel.save();
  }

  /** @param advance take the hidden states through the block at the same time. */
  async #compressGroups(
    block: number,
    weights: BlockWeights,
    groups: readonly LinearGroup[],
    advance: boolean,
  ): Promise<void> {
    const mine = (unit: PlannedUnit): boolean => unit.block === block && groups.includes(unit.group);
    const work = this.#runs.map((run) => {
      const units = run.plan.units.filter(mine);
      const open = units.filter((unit) => !run.isFinished(unit));
      run.bookEarlier(units.filter((unit) => !open.includes(unit)));
      return { run, open };
    });
    const wanted = groups.filter((group) => work.some(({ open }) => open.some((unit) => unit.group === group)));
    if (wanted.length > 0) {
      const grams = await this.#gather(block, weights, wanted, advance);
      for (const { run, open } of work) await run.factorize(open, weights, grams);
    } else if (advance) await this.#advance(block, weights);
    this.#install(weights, mine);
  }

  async #gather(
    block: number,
    weights: BlockWeights,
    groups: readonly LinearGroup[],
    advance: boolean,
  ): Promise<GroupMatrices> {
    const gather = async (wanted: readonly LinearGroup[]): Promise<GroupMatrices> => {
      this.#status(`block ${block}: gathering inputs`);
      const gathering = this.#resources.forwardPool.gather(block, weights, this.#states, { groups: wanted, advance });
      try {
        // The threads compute meanwhile, and unless they advance they only read the states.
        if (!advance) this.#states.save();
      } catch (error) {
        await Promise.allSettled([gathering]);
        throw error;
      }
      return (await gathering).grams;
    };
    const untouched = this.#sequential === 'block' || (this.#sequential === 'group' && groups[0] === linearGroups[0]);
    return block === 0 && untouched ? this.#resources.firstGrams(groups, gather) : gather(groups);
  }

  /** Puts finished products in place of the dense weights, for what comes after them. */
  #install(weights: BlockWeights, which: (unit: PlannedUnit) => boolean): void {
    if (this.#sequential === 'dense') return;
    for (const run of this.#runs) run.install(run.plan.units.filter(which), weights);
  }

  async #advance(block: number, weights: BlockWeights, states: KeptHiddenStates = this.#states): Promise<void> {
    this.#status(`block ${block}: on to the next`);
    await this.#resources.forwardPool.advance(block, weights, states);
  }

  #status(text: string): void {
    for (const run of this.#runs) run.report({ kind: 'status', text });
  }
}
