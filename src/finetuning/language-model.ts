import { type Matrix, rowsOf } from '../linalg/matrix.js';
import { Block } from '../models/llama/block.js';
import type { LlamaConfig } from '../models/llama/config.js';
import { embed } from '../models/llama/embedding.js';
import type { RotaryTable } from '../models/llama/rope.js';
import type { BlockWeights, HeadWeights } from '../models/llama/weights.js';
import { blockFloats, type TrainedBlock, trainedBlock } from '../training/block.js';
import type { OperationContext, Weight } from '../training/operations/context.js';
import { embedding } from '../training/operations/embedding.js';
import { type LossSums, languageLoss } from '../training/operations/language-loss.js';
import { rmsNorm } from '../training/operations/rms-norm.js';
import { Tape, type Variable } from '../training/tape.js';

/** A whole model whose tensors may be trained. Plain data in shared memory: it goes to worker threads as it is. */
export interface TrainedModel {
  readonly config: LlamaConfig;
  readonly rotary: RotaryTable;
  readonly embedding: Weight;
  readonly blocks: readonly TrainedBlock[];
  readonly finalNorm: Weight;
  /** The embedding itself where it is tied. */
  readonly head: Weight;
}

/** The model whose outputs are imitated, dense and in shared memory. */
export interface TeacherModel {
  readonly config: LlamaConfig;
  readonly rotary: RotaryTable;
  readonly embedding: Matrix;
  readonly blocks: readonly BlockWeights[];
  readonly head: HeadWeights;
}

export interface LossSettings {
  /** 1 / tokens of the whole batch. */
  readonly scale: number;
  readonly teacher?: TeacherModel;
  readonly teacherWeight: number;
}

/**
 * Of all threads together: the values of all blocks stay in memory up to this; beyond it each block's are computed again
 * when it is needed.
 */
export const keptBytes = 512 * 2 ** 20;

/**
 * Losses of some sequences of equal length, and their gradients.
 * @param sequences token ids; at each position the next one is predicted.
 * @param settings with `scale` the gradients are added through context.addGradient; `undefined`: losses alone.
 * @param limit bytes of block values to keep. Results do not depend on it.
 */
export function runSequences(
  context: OperationContext,
  model: TrainedModel,
  sequences: readonly Uint32Array[],
  settings: LossSettings,
  train: boolean,
  limit: number,
): LossSums {
  const { compute } = context;
  const { config } = model;
  const seqLen = (sequences[0] as Uint32Array).length;
  const rows = sequences.length * seqLen;
  const ids = new Uint32Array(rows);
  const targets = new Int32Array(rows).fill(-1);
  for (const [i, sequence] of sequences.entries()) {
    ids.set(sequence, i * seqLen);
    targets.set(sequence.subarray(1), i * seqLen);
  }
  return compute.scope(() => {
    const teacher =
      settings.teacher && settings.teacherWeight > 0
        ? { ...teacherOutputs(context, settings.teacher, ids, seqLen), weight: settings.teacherWeight }
        : undefined;
    const start = new Tape(compute);
    const blockTapes: Tape[] = [];
    const keep = train && config.layers * blockFloats(config) * rows * 4 <= limit;
    // The inputs of all blocks; without training only the last one.
    const states: Variable[] = [embedding(context, start, model.embedding, ids)];
    const run = (tape: Tape, layer: number, hidden: Variable): Variable => {
      const shape = { config, layer, rotary: model.rotary, seqLen };
      return trainedBlock(context, tape, shape, model.blocks[layer] as TrainedBlock, hidden);
    };
    for (let layer = 0; layer < config.layers; layer++) {
      const hidden = states.at(-1) as Variable;
      if (keep) {
        const tape = new Tape(compute);
        states.push(run(tape, layer, hidden));
        blockTapes.push(tape);
        continue;
      }
      const next: Variable = train ? { value: compute.matrix(rows, config.hiddenSize) } : hidden;
      compute.scope(() => next.value.data.set(run(new Tape(compute), layer, hidden).value.data));
      if (train) states.push(next);
    }
    const end = new Tape(compute);
    const normed = rmsNorm(context, end, model.finalNorm, states.at(-1) as Variable, config.normEpsilon);
    const loss = { targets, scale: settings.scale, ...(teacher && { teacher }) };
    const sums = languageLoss(context, train ? end : undefined, model.head, normed, loss);
    if (!train) return sums;
    // dL/d(input of the block at hand), through all of them.
    const flowing = compute.matrix(rows, config.hiddenSize);
    const through = (tape: Tape, input: Variable): void => {
      tape.backward();
      flowing.data.set(tape.gradientOf(input).data);
    };
    compute.scope(() => through(end, states.at(-1) as Variable));
    for (let layer = config.layers - 1; layer >= 0; layer--) {
      compute.scope(() => {
        // A variable of its own: that of the forward pass holds a gradient in memory that is free again.
        const input: Variable = keep ? (states[layer] as Variable) : { value: (states[layer] as Variable).value };
        const tape = blockTapes[layer] ?? new Tape(compute);
        const output = keep ? (states[layer + 1] as Variable) : run(tape, layer, input);
        output.gradient = compute.matrix(rows, config.hiddenSize);
        output.gradient.data.set(flowing.data);
        through(tape, input);
      });
    }
    const first = states[0] as Variable;
    first.gradient = flowing;
    start.backward();
    return sums;
  });
}

/** Outputs of the teacher's final norm, sequence by sequence. */
function teacherOutputs(
  { compute, forward }: OperationContext,
  teacher: TeacherModel,
  ids: Uint32Array,
  seqLen: number,
): { normed: Matrix; projection: Matrix } {
  const { config } = teacher;
  const hidden = compute.matrix(ids.length, config.hiddenSize);
  embed(teacher.embedding, ids, hidden);
  for (const [layer, weights] of teacher.blocks.entries()) {
    const block = new Block(compute, config, layer, weights);
    for (let row = 0; row < ids.length; row += seqLen) block.forward(rowsOf(hidden, row, seqLen), teacher.rotary);
  }
  forward.rmsNorm(hidden.data, hidden.data, teacher.head.norm.data, config.normEpsilon);
  return { normed: hidden, projection: teacher.head.projection };
}
