import { expect, it } from 'vitest';
import { fitProduct } from '../../../src/compression/matching/fit-product.js';
import { Compute } from '../../../src/linalg/compute.js';
import { referenceEngine } from '../../../src/linalg/engines/reference.js';
import { type Matrix, zeros } from '../../../src/linalg/matrix.js';
import type { Parameter, Segment } from '../../../src/training/parameter.js';
import { expand } from '../../../src/training/parameter.js';
import { nonzeroPositions } from '../../../src/training/support.js';
import { sparseMatrix } from '../../formats/tiny-model.js';
import { randomMatrix } from '../../helpers.js';

const compute = new Compute(referenceEngine);
const [out, inner, columns] = [5, 4, 6];
/** Inputs and wanted outputs of 40 positions. */
const [inputs, wanted] = [randomMatrix(40, columns, 1), randomMatrix(40, out, 2)];
const gram = zeros(columns, columns);
compute.syrk(inputs, gram, { transpose: true });
const cross = zeros(out, columns);
compute.gemm(wanted, inputs, cross, { transposeA: true });

/** sum |d - V x|^2 */
function errorOf(weight: Matrix): number {
  const rest = { ...wanted, data: wanted.data.slice() };
  compute.gemm(inputs, weight, rest, { transposeB: true, alpha: -1, beta: 1 });
  return rest.data.reduce((sum, value) => sum + value * value, 0);
}

function parameterOf(factors: readonly Matrix[]): { values: Float32Array; parameter: Parameter } {
  const values: number[] = [];
  const segments = factors.map(({ rows, columns: width, data }): Segment => {
    const positions = nonzeroPositions(data);
    const offset = values.length;
    for (const position of positions) values.push(data[position] as number);
    return { rows, columns: width, offset, count: positions.length, positions };
  });
  const parameter = { target: zeros(out, columns), factors: segments as unknown as Parameter['factors'] };
  return { values: Float32Array.from(values), parameter };
}

it('a sparse matrix becomes the least squares solution on its support', () => {
  const { values, parameter } = parameterOf([sparseMatrix(out, columns, 3)]);
  for (let repeat = 0; repeat < 4; repeat++) fitProduct(values, parameter, { gram, cross }, compute);
  expand(compute, values, parameter);
  // V G - C is zero on the support.
  const gradient = { ...cross, data: cross.data.slice() };
  compute.gemm(parameter.target, gram, gradient, { alpha: 1, beta: -1 });
  for (const position of parameter.factors[0].positions as Uint32Array)
    expect(gradient.data[position]).toBeCloseTo(0, 3);
});

it('two factors get better, on their supports', () => {
  const { values, parameter } = parameterOf([sparseMatrix(out, inner, 4), sparseMatrix(inner, columns, 5)]);
  expand(compute, values, parameter);
  let error = errorOf(parameter.target);
  for (let round = 0; round < 3; round++) {
    fitProduct(values, parameter, { gram, cross }, compute);
    expand(compute, values, parameter);
    const next = errorOf(parameter.target);
    expect(next).toBeLessThan(error * (1 + 1e-6));
    if (round === 0) expect(next).toBeLessThan(0.9 * error);
    error = next;
  }
});
