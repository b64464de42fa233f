import { addCrossGram, addGram } from '../../calibration/gram.js';
import { DoubleSparseError } from '../../errors.js';
import type { Compute } from '../../linalg/compute.js';
import { firstNonFinite } from '../../linalg/finite.js';
import type { Matrix } from '../../linalg/matrix.js';
import { Block, type BlockForwardOptions } from './block.js';
import type { LlamaConfig } from './config.js';
import { Head } from './head.js';
import type { RotaryTable } from './rope.js';
import { type LinearGroup, linearGroups } from './tensors.js';
import type { BlockWeights, HeadWeights } from './weights.js';

/** One in x in matrix for each linear group that is asked for. */
export type GroupMatrices = Readonly<Partial<Record<LinearGroup, Matrix>>>;

/** A sequence on its way through the blocks. */
export interface Sequence {
  /** Its number among all sequences, for messages. */
  readonly index: number;
  /** Inputs of the block, positions x hiddenSize. */
  readonly hidden: Matrix;
  /** The same in the dense model, where cross Gram matrices are asked for. */
  readonly dense?: Matrix;
}

/** Some sequences through one block, one after the other. All matrices are in shared memory. */
export interface BlockJob {
  readonly kind: 'block';
  readonly layer: number;
  readonly weights: BlockWeights;
  readonly rotary: RotaryTable;
  readonly sequences: readonly Sequence[];
  /** Put the block's outputs in place of `hidden`? `dense` always goes on. */
  readonly advance: boolean;
  /** Go the sums on from an earlier batch's? Else what they hold is overwritten. */
  readonly continued: boolean;
  /** Receive sum x x^T of this job's sequences (see addGram). */
  readonly grams: GroupMatrices;
  /** Receive sum x_dense x^T of this job's sequences (see addCrossGram). */
  readonly crossGrams: GroupMatrices;
}

/** Some sequences through final norm, head and loss. */
export interface LossJob {
  readonly kind: 'loss';
  readonly weights: HeadWeights;
  readonly sequences: readonly (Sequence & {
    readonly ids: Uint32Array;
    /** Receives the losses of the next tokens, one fewer than positions. */
    readonly losses: Float64Array;
  })[];
}

export type ForwardJob = BlockJob | LossJob;

/** Runs one job. @throws DoubleSparseError `non-finite-value` naming block and sequence, `out-of-memory` */
export function runForwardJob(job: ForwardJob, config: LlamaConfig, compute: Compute): void {
  if (job.kind === 'block') runBlockJob(job, config, compute);
  else runLossJob(job, config, compute);
}

function runLossJob(job: LossJob, config: LlamaConfig, compute: Compute): void {
  const head = new Head(compute, config, job.weights);
  for (const { index, hidden, ids, losses } of job.sequences) {
    compute.scope(() => head.losses(localCopy(compute, hidden), ids, losses));
    const position = losses.findIndex((loss) => !Number.isFinite(loss));
    if (position < 0) continue;
    throw new DoubleSparseError(
      'non-finite-value',
      `the loss of sequence ${index} is ${losses[position]} at position ${position + 1}, after finite outputs of all blocks: final norm or head`,
      { data: { block: config.layers, sequence: index, position: position + 1 } },
    );
  }
}

function runBlockJob(job: BlockJob, config: LlamaConfig, compute: Compute): void {
  const { grams, crossGrams, advance, layer, rotary } = job;
  const block = new Block(compute, config, layer, job.weights);
  const wanted = linearGroups.filter((group) => grams[group] ?? crossGrams[group]);
  const last = wanted.at(-1);
  if (!advance && last === undefined) return;
  const until: BlockForwardOptions = advance || last === undefined ? {} : { until: last };
  for (const [number, sequence] of job.sequences.entries()) {
    const first = number === 0 && !job.continued;
    compute.scope(() => {
      const dense = sequence.dense && runDense(sequence, sequence.dense, block, job, compute);
      const onInput = (group: LinearGroup, inputs: Matrix): void => {
        const gram = grams[group];
        const cross = crossGrams[group];
        const reference = dense?.[group];
        if (gram) addGram(compute, inputs, gram, first);
        if (cross && reference) addCrossGram(compute, reference, inputs, cross, first);
      };
      const hidden = localCopy(compute, sequence.hidden);
      block.forward(hidden, rotary, { onInput, ...until });
      if (advance) store(hidden, sequence.hidden, layer, sequence.index);
    });
  }
}

/** Takes the dense sequence through the block; returns copies of the inputs that cross Gram matrices need. */
function runDense(
  { index }: Sequence,
  dense: Matrix,
  block: Block,
  { crossGrams, rotary, layer }: BlockJob,
  compute: Compute,
): GroupMatrices {
  const kept: Partial<Record<LinearGroup, Matrix>> = {};
  for (const group of linearGroups) {
    const size = crossGrams[group]?.rows;
    if (size !== undefined) kept[group] = compute.matrix(dense.rows, size);
  }
  compute.scope(() => {
    const hidden = localCopy(compute, dense);
    block.forward(hidden, rotary, { onInput: (group, inputs) => kept[group]?.data.set(inputs.data) });
    store(hidden, dense, layer, index);
  });
  return kept;
}

function localCopy(compute: Compute, source: Matrix): Matrix {
  const copy = compute.matrix(source.rows, source.columns);
  copy.data.set(source.data);
  return copy;
}

function store(output: Matrix, target: Matrix, layer: number, index: number): void {
  const at = firstNonFinite(output.data);
  if (at >= 0) {
    const [position, channel] = [Math.floor(at / output.columns), at % output.columns];
    throw new DoubleSparseError(
      'non-finite-value',
      `block ${layer} turns sequence ${index} into ${output.data[at]} at position ${position}, channel ${channel}`,
      {
        data: { block: layer, sequence: index, position, channel },
        hint: 'its weights are damaged or were compressed beyond use; blocks before it are fine',
      },
    );
  }
  target.data.set(output.data);
}
