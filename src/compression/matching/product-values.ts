import type { Matrix } from '../../linalg/matrix.js';
import type { SharedAllocation } from '../../linalg/shared-matrix.js';
import type { LinearName } from '../../models/llama/tensors.js';
import type { BlockWeights } from '../../models/llama/weights.js';
import { FlatValues } from '../../training/flat-values.js';
import type { Parameter, Segment } from '../../training/parameter.js';
import { segmentRows } from '../../training/segment-rows.js';
import { nonzeroPositions } from '../../training/support.js';
import type { PlannedUnit } from '../compression-plan.js';

/** A finished product of a run. */
export interface UnitFactors {
  readonly unit: PlannedUnit;
  readonly factors: readonly Matrix[];
}

/** Products made ready for training. */
export interface ProductValues {
  /** All nonzeros, in shared memory. */
  readonly values: Float32Array;
  /** Of each weight. */
  readonly parameters: ReadonlyMap<LinearName, Parameter>;
  /** The factors with values in place of their nonzeros. */
  readonly factorsWith: (values: Float32Array) => readonly UnitFactors[];
}

/** @param weights receive the products' dense forms. @param allocate gives values and gradients of the lanes their memory. */
export function productValues(
  products: readonly UnitFactors[],
  weights: BlockWeights,
  lanes: number,
  allocate: SharedAllocation,
): ProductValues {
  const flat = new FlatValues();
  const parameters = new Map<LinearName, Parameter>();
  const segmentOf = ({ rows, columns, data }: Matrix): Segment => {
    const positions = nonzeroPositions(data);
    const values = Float32Array.from(positions, (position) => data[position] as number);
    const [offset, count] = [flat.append(values), values.length];
    return { rows, columns, offset, count, positions, rate: rootMeanSquare(values) };
  };
  const segments = products.map(({ unit, factors }) => {
    const [a, b] = factors.map(segmentOf) as [Segment, Segment | undefined];
    let row = 0;
    for (const member of unit.members) {
      const rows = segmentRows(a, row, member.rows);
      row += member.rows;
      const target = weights.linear[member.module].weight;
      const gradients = Array.from({ length: lanes }, (_, lane): Matrix => {
        return { ...target, data: allocate(`gradient of ${member.module}, lane ${lane}`, target.data.length) };
      });
      parameters.set(member.module, { target, factors: b ? [rows, b] : [rows], gradients });
    }
    return b ? [a, b] : [a];
  });
  const values = flat.shared(allocate);
  const factorsWith = (all: Float32Array): UnitFactors[] =>
    products.map(({ unit }, index) => ({
      unit,
      factors: (segments[index] as Segment[]).map(({ rows, columns, offset, positions }) => {
        const data = new Float32Array(rows * columns);
        for (const [i, position] of (positions as Uint32Array).entries()) data[position] = all[offset + i] as number;
        return { rows, columns, data };
      }),
    }));
  return { values, parameters, factorsWith };
}

function rootMeanSquare(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / Math.max(1, values.length));
}
