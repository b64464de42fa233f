import { workerData } from 'node:worker_threads';
import { type PostedError, postedError } from '../errors.js';
import { createCompute } from '../linalg/create-compute.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import { llamaKernels } from '../models/llama/wasm-kernels.js';
import type { OperationContext } from './operations/context.js';
import { pullBack } from './parameter.js';
import { expandValues, sumGradients, type TrainedValues, type UpdateOptions, updateValues } from './trained-values.js';
import { wasmTrainingKernels } from './wasm-kernels.js';

/** What the pool gives each of its threads. */
export interface LaneData {
  readonly choice: EngineChoice;
  readonly blasThreads: number;
}

/** What the lanes of a pool train. Plain data in shared memory. */
export interface TrainingShare {
  readonly trained: TrainedValues;
  /** Examples that a lane has in memory at a time; the rest of its share of a batch is accumulated. */
  readonly microBatch: number;
}

/** Sums over examples, by name. */
export type Sums = Readonly<Record<string, number>>;

export type TrainingJob<Share, Example> =
  /** What all later jobs are about. */
  | { readonly kind: 'share'; readonly share: Share }
  | ({ readonly lane: number } & (
      | { readonly kind: 'expand' }
      /** Adds gradients of the examples to those of the lane. `scale`: factor of the loss. */
      | { readonly kind: 'gradient'; readonly examples: readonly Example[]; readonly scale: number }
      | { readonly kind: 'loss'; readonly examples: readonly Example[] }
      /** See {@link sumGradients}. */
      | { readonly kind: 'sum' }
      | ({ readonly kind: 'update' } & UpdateOptions)
    ));

export interface TrainingAnswer<S extends Sums> {
  /** Of `gradient` and `loss`. */
  readonly sums?: S;
  /** Sum of squares of the summed gradients, of `sum`. */
  readonly squares: number;
}

export type PostedAnswer<S extends Sums> = TrainingAnswer<S> | { readonly error: PostedError };

/** Losses of a few examples; with `scale` their gradients go to `context.addGradient`, without it there are none. */
export type LossFunction<Share, Example, S extends Sums> = (
  context: OperationContext,
  share: Share,
  examples: readonly Example[],
  scale: number | undefined,
  lane: number,
) => S;

/** The program of a lane's thread: engine and arena live as long as the thread. */
export function trainingLane<Share extends TrainingShare, Example, S extends Sums>(
  lossOf: LossFunction<Share, Example, S>,
): (job: TrainingJob<Share, Example>) => PostedAnswer<S> {
  const { choice, blasThreads } = workerData as LaneData;
  const compute = createCompute(choice, blasThreads);
  const kernels = { compute, forward: llamaKernels(compute), backward: wasmTrainingKernels(compute.arena) };
  let current: Share | undefined;
  const losses = (share: Share, examples: readonly Example[], lane: number, scale?: number): S => {
    const { values, gradients } = share.trained;
    const own = gradients[lane] as Float32Array;
    const context: OperationContext = {
      ...kernels,
      addGradient: (parameter, gradient) => {
        const dense = parameter.gradients?.[lane]?.data;
        if (dense) compute.kernels.linearCombination(dense, 1, dense, 1, gradient.data);
        else pullBack(compute, values, own, parameter, gradient);
      },
    };
    const parts: S[] = [];
    for (let from = 0; from < examples.length; from += share.microBatch)
      parts.push(lossOf(context, share, examples.slice(from, from + share.microBatch), scale, lane));
    return addSums(parts);
  };
  const run = (job: TrainingJob<Share, Example>): TrainingAnswer<S> => {
    if (job.kind === 'share') {
      current = job.share;
      return { squares: 0 };
    }
    const share = current as Share;
    const { trained } = share;
    const { lane } = job;
    if (job.kind === 'gradient') return { squares: 0, sums: losses(share, job.examples, lane, job.scale) };
    if (job.kind === 'loss') return { squares: 0, sums: losses(share, job.examples, lane) };
    if (job.kind === 'sum') return { squares: sumGradients(compute, trained, lane) };
    if (job.kind === 'update') updateValues(trained, lane, job);
    expandValues(compute, trained, lane);
    return { squares: 0 };
  };
  return (job) => {
    try {
      // Another pool may have changed this number of the whole process meanwhile.
      compute.engine.setThreads(blasThreads);
      return run(job);
    } catch (error) {
      return { error: postedError(error) };
    }
  };
}

/** Field by field, in order. */
export function addSums<S extends Sums>(parts: readonly S[]): S {
  const total: Record<string, number> = {};
  for (const part of parts) {
    for (const [name, value] of Object.entries(part)) total[name] = (total[name] ?? 0) + value;
  }
  return total as S;
}
