import { availableParallelism } from 'node:os';
import { nonzeroBudget } from '../factorization/measure.js';
import type { LlamaModel } from '../models/llama/model.js';
import { groupInputSize, linearGroups } from '../models/llama/tensors.js';
import { blockBytes } from '../models/llama/weights.js';
import type { CompressOptions } from './compress-options.js';
import { type CompressionPlan, type PlannedUnit, planCompression } from './compression-plan.js';
import { checkOutput } from './compression-run.js';
import { hiddenStatesBytes, hiddenStatesLimit, sequencesInMemory } from './hidden-states.js';
import { checkMatching, statesWhileMatching } from './matching/check-matching.js';

/** What a run would do and need, estimated from headers. */
export interface DryRun extends CompressionPlan {
  readonly sparsity: number;
  /** Nonzeros that all compressed weights together may keep. */
  readonly budget: number;
  /** Values at two bytes and bitmasks, an upper bound of gaps; the masks of low-rank, dictionary and block-diagonal factors are not known yet. */
  readonly estimatedLinearBytes: number;
  /** The same weights dense at two bytes. */
  readonly denseLinearBytes: number;
  /** The part of the hidden states that is in memory at a time included. */
  readonly estimatedMemoryBytes: number;
  /** Of all calibration windows. */
  readonly hiddenStatesBytes: number;
  /** Do they go through files in the run folder? Then these take up to twice as much there. */
  readonly hiddenStatesSpilled: boolean;
}

/** Node, its threads, and the engine's buffers. */
const baseMemoryBytes = 350e6;

/** Nonzeros that a unit may keep: those of its members. */
export function unitBudget({ members }: PlannedUnit, sparsity: number): number {
  return members.reduce((sum, { rows, columns }) => sum + nonzeroBudget(rows * columns, sparsity), 0);
}

/**
 * @param out folder of the compressed model.
 * @throws DoubleSparseError whatever would forbid the run to begin, but for a run folder that is taken
 */
export function dryRun(model: LlamaModel, out: string, options: CompressOptions): DryRun {
  checkOutput(model, out, options.force);
  const plan = planCompression(model, options);
  const { config } = model;
  let [budget, masks, largest] = [0, 0, 0];
  for (const unit of plan.units) {
    const { members } = unit;
    const rows = members.reduce((sum, member) => sum + member.rows, 0);
    const columns = members[0]?.columns ?? 0;
    budget += unitBudget(unit, options.sparsity);
    const inner = Math.min(rows, columns);
    masks += (plan.method.startsWith('double-sparse') ? rows * inner + inner * columns : rows * columns) / 8;
    largest = Math.max(largest, 9 * rows * columns * 4 + 4 * columns * columns * 4);
  }
  const threads = options.threads ?? availableParallelism();
  const grams = linearGroups.reduce((sum, group) => sum + groupInputSize(config, group) ** 2 * 4, 0);
  const shape = { sequences: options.samples, positions: options.seqLen, hiddenSize: config.hiddenSize };
  checkMatching(options, shape);
  const limit = hiddenStatesLimit(options);
  const kept = sequencesInMemory(shape, limit, Math.min(threads, options.samples));
  return {
    ...plan,
    sparsity: options.sparsity,
    budget,
    estimatedLinearBytes: 2 * budget + masks,
    denseLinearBytes: 2 * plan.targetedEntries,
    estimatedMemoryBytes:
      baseMemoryBytes +
      hiddenStatesBytes({ ...shape, sequences: kept }) * (options.blockSteps > 0 ? statesWhileMatching : 1) +
      blockBytes(config) +
      threads * (grams + largest),
    hiddenStatesBytes: hiddenStatesBytes(shape),
    hiddenStatesSpilled: kept < shape.sequences,
  };
}
