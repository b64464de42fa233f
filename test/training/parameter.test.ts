import { expect, it } from 'vitest';
import { Compute } from '../../src/linalg/compute.js';
import { referenceEngine } from '../../src/linalg/engines/reference.js';
import { matrix, zeros } from '../../src/linalg/matrix.js';
import { expand, type Parameter, pullBack, type Segment } from '../../src/training/parameter.js';
import { newTrainedValues, sumGradients } from '../../src/training/trained-values.js';
import { denseProduct, sparseMatrix } from '../formats/tiny-model.js';
import { randomMatrix } from '../helpers.js';

const compute = new Compute(referenceEngine);
const [a, b] = [sparseMatrix(5, 4, 1), sparseMatrix(4, 7, 2)];
const support = (data: Float32Array) => Uint32Array.from([...data.keys()].filter((i) => data[i] !== 0));
const segment = ({ rows, columns, data }: typeof a, offset: number): Segment => {
  const positions = support(data);
  return { rows, columns, offset, count: positions.length, positions };
};
const ofA = segment(a, 1);
const ofB = segment(b, 1 + ofA.count);
const values = new Float32Array(2 + ofA.count + ofB.count).fill(7);
for (const [m, { offset, positions }] of [
  [a, ofA],
  [b, ofB],
] as const) {
  for (const [i, position] of (positions as Uint32Array).entries()) values[offset + i] = m.data[position] as number;
}
const product: Parameter = { target: zeros(5, 7), factors: [ofA, ofB] };

it('a product is expanded', () => {
  expand(compute, values, product);
  expect(product.target).toBeAllclose(denseProduct(a, b), { rtol: 1e-6, atol: 1e-6 });
});

it('gradients of factors are those of the definition, at the supports alone', () => {
  const gradient = randomMatrix(5, 7, 3);
  const gradients = new Float32Array(values.length).fill(1);
  pullBack(compute, values, gradients, product, gradient);
  const transposed = ({ rows, columns, data }: typeof a) =>
    matrix(
      columns,
      rows,
      Float32Array.from({ length: data.length }, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!),
    );
  const expected = [denseProduct(gradient, transposed(b)), denseProduct(transposed(a), gradient)];
  for (const [index, { offset, count, positions }] of [ofA, ofB].entries()) {
    const own = Float32Array.from(positions as Uint32Array, (position) => 1 + expected[index]!.data[position]!);
    expect(gradients.subarray(offset, offset + count)).toBeAllclose(own, { rtol: 1e-5, atol: 1e-5 });
  }
  expect([gradients[0], gradients.at(-1)]).toEqual([1, 1]);
});

it('a value of zero stays where it is', () => {
  const zeroed = values.slice();
  zeroed[ofA.offset] = 0;
  const gradients = new Float32Array(values.length);
  pullBack(compute, zeroed, gradients, product, randomMatrix(5, 7, 3));
  expect(gradients[ofA.offset]).not.toBe(0);
});

it('dense gradients of the lanes come back at once as those of each would, and are zero then', () => {
  const lanes = [randomMatrix(5, 7, 3), randomMatrix(5, 7, 4)];
  const expected = new Float32Array(values.length);
  for (const gradient of lanes) pullBack(compute, values, expected, product, gradient);
  const trained = newTrainedValues(values, [{ ...product, gradients: lanes }], 2, 0);
  const squares = [0, 1].reduce((sum, lane) => sum + sumGradients(compute, trained, lane), 0);
  expect(trained.gradients[0]).toBeAllclose(expected, { rtol: 1e-5, atol: 1e-5 });
  expect(squares).toBeCloseTo(
    expected.reduce((sum, value) => sum + value ** 2, 0),
    2,
  );
  expect(lanes.flatMap(({ data }) => [...data]).every((value) => value === 0)).toBe(true);
});
