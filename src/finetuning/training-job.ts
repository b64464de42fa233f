import type { Compute } from '../linalg/compute.js';
import { llamaKernels } from '../models/llama/wasm-kernels.js';
import { adamStep } from './adamw.js';
import type { OperationContext } from './operations/context.js';
import type { LossSums } from './operations/language-loss.js';
import { expand, type Parameter, pullBack, type Segment } from './parameter.js';
import { runSequences, type TeacherModel, type TrainedModel } from './training-model.js';
import { wasmTrainingKernels } from './wasm-kernels.js';

/** Parameters that are updated and expanded together: those that share a factor. */
export interface ParameterGroup {
  readonly segments: readonly Segment[];
  readonly parameters: readonly Parameter[];
}

/** What all threads of a training run share. Plain data in shared memory. */
export interface TrainingShare {
  readonly model: TrainedModel;
  readonly teacher?: TeacherModel;
  readonly teacherWeight: number;
  readonly microBatch: number;
  readonly weightDecay: number;
  readonly values: Float32Array;
  /** Running means of gradients and of their squares. */
  readonly first: Float32Array;
  readonly second: Float32Array;
  /** One array for each lane; zero between steps. */
  readonly gradients: readonly Float32Array[];
  /** What each lane updates. */
  readonly groups: readonly (readonly ParameterGroup[])[];
}

export type TrainingJob = { readonly lane: number } & (
  | { readonly kind: 'expand' }
  /** Adds gradients of the sequences to those of the lane. `scale`: 1 / tokens of the whole batch. */
  | { readonly kind: 'gradient'; readonly sequences: readonly Uint32Array[]; readonly scale: number }
  | { readonly kind: 'loss'; readonly sequences: readonly Uint32Array[] }
  /** Sums the lanes' gradients of its own groups into lane 0. */
  | { readonly kind: 'sum' }
  | { readonly kind: 'update'; readonly step: number; readonly learningRate: number; readonly gradientScale: number }
);

export interface TrainingAnswer extends LossSums {
  /** Sum of squares of the summed gradients, of `sum`. */
  readonly squares: number;
}

/** Runs the jobs of one thread. */
export class TrainingLane {
  readonly #share: TrainingShare;
  readonly #compute: Compute;
  readonly #context: Omit<OperationContext, 'addGradient'>;

  constructor(share: TrainingShare, compute: Compute) {
    this.#share = share;
    this.#compute = compute;
    this.#context = { compute, forward: llamaKernels(compute), backward: wasmTrainingKernels(compute.arena) };
  }

  run(job: TrainingJob): TrainingAnswer {
    const nothing = { crossEntropy: 0, divergence: 0, squares: 0 };
    switch (job.kind) {
      case 'gradient':
        return { ...nothing, ...this.#losses(job.sequences, job.lane, job.scale) };
      case 'loss':
        return { ...nothing, ...this.#losses(job.sequences, job.lane) };
      case 'sum':
        return { ...nothing, squares: this.#sum(job.lane) };
      case 'update':
        this.#update(job);
        this.#expand(job.lane);
        return nothing;
      case 'expand':
        this.#expand(job.lane);
        return nothing;
    }
  }

  /** @param scale of the loss for gradients; none are made if absent. */
  #losses(sequences: readonly Uint32Array[], lane: number, scale?: number): LossSums {
    const { model, teacher, teacherWeight, microBatch, values, gradients } = this.#share;
    const context: OperationContext = {
      ...this.#context,
      addGradient: (parameter, gradient) =>
        pullBack(this.#compute, values, gradients[lane] as Float32Array, parameter, gradient),
    };
    const settings = { scale: scale ?? 0, teacherWeight, ...(teacher && { teacher }) };
    let [crossEntropy, divergence] = [0, 0];
    for (let from = 0; from < sequences.length; from += microBatch) {
      const part = sequences.slice(from, from + microBatch);
      const sums = runSequences(context, model, part, settings, scale !== undefined);
      crossEntropy += sums.crossEntropy;
      divergence += sums.divergence;
    }
    return { crossEntropy, divergence };
  }

  #segments(lane: number): Segment[] {
    return (this.#share.groups[lane] ?? []).flatMap(({ segments }) => segments);
  }

  #sum(lane: number): number {
    const [total, ...others] = this.#share.gradients as [Float32Array, ...Float32Array[]];
    let squares = 0;
    for (const { offset, count } of this.#segments(lane)) {
      for (let i = offset; i < offset + count; i++) {
        let sum = total[i] as number;
        for (const other of others) sum += other[i] as number;
        total[i] = sum;
        squares += sum * sum;
      }
    }
    return squares;
  }

  #update({ lane, ...options }: { lane: number; step: number; learningRate: number; gradientScale: number }): void {
    const { values, gradients, first, second, weightDecay } = this.#share;
    for (const { offset, count, rows } of this.#segments(lane)) {
      const own = (array: Float32Array) => array.subarray(offset, offset + count);
      // Norms and biases do not decay.
      const decay = rows > 1 ? weightDecay : 0;
      adamStep(own(values), own(gradients[0] as Float32Array), own(first), own(second), {
        ...options,
        weightDecay: decay,
      });
      for (const each of gradients) own(each).fill(0);
    }
  }

  #expand(lane: number): void {
    for (const { parameters } of this.#share.groups[lane] ?? []) {
      for (const parameter of parameters) expand(this.#compute, this.#share.values, parameter);
    }
  }
}

/** Spreads parameters over lanes, about equally many values each; those that share a factor stay together. */
export function groupParameters(parameters: readonly Parameter[], lanes: number): ParameterGroup[][] {
  const emptyGroup = () => ({ segments: new Map<number, Segment>(), parameters: [] as Parameter[], size: 0 });
  const groups = new Map<number, ReturnType<typeof emptyGroup>>();
  for (const parameter of parameters) {
    const [a, b] = parameter.factors;
    const key = (b ?? a).offset;
    const group = groups.get(key) ?? emptyGroup();
    groups.set(key, group);
    group.parameters.push(parameter);
    for (const segment of parameter.factors) group.segments.set(segment.offset, segment);
    group.size += parameter.target.data.length;
  }
  const loads = Array.from({ length: lanes }, () => ({ size: 0, groups: [] as ParameterGroup[] }));
  for (const { segments, parameters: own, size } of [...groups.values()].sort((a, b) => b.size - a.size)) {
    const least = loads.reduce((best, load) => (load.size < best.size ? load : best));
    least.size += size;
    least.groups.push({ segments: [...segments.values()], parameters: own });
  }
  return loads.map((load) => load.groups);
}
