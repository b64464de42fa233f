import type { Compute } from '../linalg/compute.js';
import { newShared, type SharedAllocation } from '../linalg/shared-matrix.js';
import { adamStep } from './adamw.js';
import { expand, type Parameter, pullBack, type Segment } from './parameter.js';

/** Parameters that are updated and expanded together: those that share a factor. */
interface ParameterGroup {
  readonly segments: readonly Segment[];
  readonly parameters: readonly Parameter[];
}

/**
 * All trained values with their gradients and the state of the optimiser, flat, in memory that the threads share. Each
 * lane of a training pool adds gradients of its own, then sums, updates and expands the groups that it owns.
 */
export interface TrainedValues {
  readonly values: Float32Array;
  /** Running means of gradients and of their squares. */
  readonly first: Float32Array;
  readonly second: Float32Array;
  /** One array for each lane; zero between steps. */
  readonly gradients: readonly Float32Array[];
  /** By lane. */
  readonly groups: readonly (readonly ParameterGroup[])[];
  readonly weightDecay: number;
}

export interface UpdateOptions {
  /** From 1 on. */
  readonly step: number;
  readonly learningRate: number;
  /** See {@link adamStep}. */
  readonly gradientScale: number;
  readonly momentum?: number;
}

/** @param values in shared memory, by reference. @param allocate gives the rest its memory. */
export function newTrainedValues(
  values: Float32Array,
  parameters: readonly Parameter[],
  lanes: number,
  weightDecay: number,
  allocate: SharedAllocation = newShared,
): TrainedValues {
  return {
    values,
    first: allocate('first moments', values.length),
    second: allocate('second moments', values.length),
    gradients: Array.from({ length: lanes }, (_, lane) => allocate(`gradients of lane ${lane}`, values.length)),
    groups: groupParameters(parameters, lanes),
    weightDecay,
  };
}

/** Sums the gradients of all lanes into those of the first, where `lane` owns them. @returns the sum of their squares */
export function sumGradients(compute: Compute, trained: TrainedValues, lane: number): number {
  const [total, ...others] = trained.gradients as [Float32Array, ...Float32Array[]];
  for (const { parameters } of trained.groups[lane] ?? []) {
    for (const parameter of parameters) sumDense(compute, trained.values, total, parameter);
  }
  let squares = 0;
  for (const { offset, count } of segmentsOf(trained, lane)) {
    for (let i = offset; i < offset + count; i++) {
      let sum = total[i] as number;
      for (const other of others) sum += other[i] as number;
      total[i] = sum;
      squares += sum * sum;
    }
  }
  return squares;
}

/** Pulls the sum of dense gradients back, which are zero afterwards. */
function sumDense(compute: Compute, values: Float32Array, total: Float32Array, parameter: Parameter): void {
  const [sum, ...others] = parameter.gradients ?? [];
  if (!sum) return;
  for (const { data } of others) compute.kernels.linearCombination(sum.data, 1, sum.data, 1, data);
  pullBack(compute, values, total, parameter, sum);
  for (const { data } of [sum, ...others]) data.fill(0);
}

/** A step of the optimiser along the summed gradients; all of them are zero afterwards. */
export function updateValues(trained: TrainedValues, lane: number, options: UpdateOptions): void {
  const { values, gradients, first, second, weightDecay } = trained;
  for (const { offset, count, rows, rate = 1 } of segmentsOf(trained, lane)) {
    const own = (array: Float32Array): Float32Array => array.subarray(offset, offset + count);
    // Norms and biases do not decay.
    const learningRate = rate * options.learningRate;
    const settings = { ...options, learningRate, weightDecay: rows > 1 ? weightDecay : 0 };
    adamStep(own(values), own(gradients[0] as Float32Array), own(first), own(second), settings);
    for (const each of gradients) own(each).fill(0);
  }
}

/** Puts the values into the dense weights that the forward pass reads. */
export function expandValues(compute: Compute, { groups, values }: TrainedValues, lane: number): void {
  for (const { parameters } of groups[lane] ?? []) {
    for (const parameter of parameters) expand(compute, values, parameter);
  }
}

function segmentsOf({ groups }: TrainedValues, lane: number): Segment[] {
  return (groups[lane] ?? []).flatMap(({ segments }) => segments);
}

/** Spreads parameters over lanes, about equally many values each; those that share a factor stay together. */
function groupParameters(parameters: readonly Parameter[], lanes: number): ParameterGroup[][] {
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
