import { describe, expect, test } from 'vitest';
import { InputGram, type InputStatistics } from '../../src/calibration/input-gram.js';
import { fittedOffset, linearProblem } from '../../src/calibration/linear-target.js';
import { Compute } from '../../src/linalg/compute.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import { type Matrix, zeros } from '../../src/linalg/matrix.js';
import { randomMatrix } from '../helpers.js';

const compute = new Compute(createEngine('reference'));
const [out, inputs, count] = [3, 5, 400];

/** Inputs with a mean and correlations; wanted outputs that a linear layer does not quite make. */
function sample(seed: number): { x: Matrix; t: Matrix } {
  const [base, mixing, truth, noise] = [
    randomMatrix(count, inputs, seed),
    randomMatrix(inputs, inputs, seed + 1),
    randomMatrix(out, inputs, seed + 2),
    randomMatrix(count, out, seed + 3),
  ];
  const x = zeros(count, inputs);
  compute.gemm(base, mixing, x);
  for (let i = 0; i < x.data.length; i++) x.data[i] += 1 + (i % inputs) / 4;
  const t = zeros(count, out);
  compute.gemm(x, truth, t, { transposeB: true });
  for (let i = 0; i < t.data.length; i++) t.data[i] += 2 + 0.3 * noise.data[i];
  return { x, t };
}

function statisticsOf(x: Matrix, t?: Matrix): InputStatistics {
  const gram = new InputGram(compute, inputs, t ? out : 0);
  gram.addRows(x, t);
  return gram.finish();
}

/** Mean over positions of |t - V x - c|^2, one position after another. */
function meanError(x: Matrix, t: Matrix, v: Matrix, c: ArrayLike<number>): number {
  let sum = 0;
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < out; i++) {
      let y = c[i];
      for (let j = 0; j < inputs; j++) y += v.data[i * inputs + j] * x.data[n * inputs + j];
      sum += (t.data[n * out + i] - y) ** 2 / count;
    }
  }
  return sum;
}

function quadratic(difference: Matrix, gram: Matrix): number {
  const product = zeros(difference.rows, difference.columns);
  compute.gemm(difference, gram, product);
  return product.data.reduce((sum, value, i) => sum + value * difference.data[i], 0);
}

function minus(a: Matrix, b: Matrix): Matrix {
  return { ...a, data: a.data.map((value, i) => value - b.data[i]) };
}

describe('with wanted outputs', () => {
  const { x, t } = sample(1);
  const weight = randomMatrix(out, inputs, 9);
  const statistics = statisticsOf(x, t);

  test('means and mean squares of the wanted outputs', () => {
    const { mean, meanSquare } = statistics.target!;
    for (let i = 0; i < out; i++) {
      const values = Array.from({ length: count }, (_, n) => t.data[n * out + i]);
      expect(mean[i]).toBeCloseTo(
        values.reduce((sum, value) => sum + value / count, 0),
        9,
      );
      expect(meanSquare[i]).toBeCloseTo(
        values.reduce((sum, value) => sum + value ** 2 / count, 0),
        9,
      );
    }
  });

  test('errors of any V differ by tr((W* - V) S (W* - V)^T) from the least', () => {
    const problem = linearProblem(weight, [statistics], true, compute);
    const errorOf = (v: Matrix): number =>
      meanError(x, t, v, fittedOffset(v, statistics, { weight, offset: new Float64Array(out) }));
    const least = errorOf(problem.weight);
    for (let seed = 20; seed < 30; seed++) {
      const v = randomMatrix(out, inputs, seed);
      const expected = quadratic(minus(problem.weight, v), problem.gram);
      // The ridge keeps W* a thousandth away from the optimum.
      expect((errorOf(v) - least) / expected).toBeCloseTo(1, 2);
    }
  });

  test('where the constant stays, second moments take the place of covariances', () => {
    const problem = linearProblem(weight, [statistics], false, compute);
    expect(problem.gram).toBeAllclose(statistics.gram.data, { rtol: 1e-6 });
    const zero = new Float64Array(out);
    const least = meanError(x, t, problem.weight, zero);
    for (let seed = 20; seed < 24; seed++) {
      const v = randomMatrix(out, inputs, seed);
      const expected = quadratic(minus(problem.weight, v), problem.gram);
      expect((meanError(x, t, v, zero) - least) / expected).toBeCloseTo(1, 2);
    }
  });

  test('outputs of the weight itself leave it as it is', () => {
    const own = zeros(count, out);
    compute.gemm(x, weight, own, { transposeB: true });
    const problem = linearProblem(weight, [statisticsOf(x, own)], true, compute);
    expect(problem.weight).toBeAllclose(weight.data, { atol: 1e-4 });
  });
});

test('without wanted outputs the weight is the target, and the constant keeps the mean output', () => {
  const { x } = sample(5);
  const weight = randomMatrix(out, inputs, 6);
  const statistics = statisticsOf(x);
  const problem = linearProblem(weight, [statistics], true, compute);
  expect(problem.weight).toBe(weight);
  const offset = Float64Array.of(1, -2, 3);
  const v = randomMatrix(out, inputs, 7);
  const c = fittedOffset(v, statistics, { weight, offset });
  const meanOf = (m: Matrix, i: number): number =>
    statistics.mean.reduce((sum, value, j) => sum + m.data[i * inputs + j] * value, 0);
  for (let i = 0; i < out; i++) expect(meanOf(v, i) + c[i]).toBeCloseTo(meanOf(weight, i) + offset[i], 6);
});

test('uses are averaged by their counts', () => {
  const [a, b] = [sample(11), sample(12)];
  const both = linearProblem(randomMatrix(out, inputs, 1), [statisticsOf(a.x), statisticsOf(b.x)], true, compute);
  const single = [a, b].map(({ x }) => linearProblem(randomMatrix(out, inputs, 1), [statisticsOf(x)], true, compute));
  const expected = single[0].gram.data.map((value, i) => (value + single[1].gram.data[i]) / 2);
  expect(both.gram).toBeAllclose(expected, { rtol: 1e-5, atol: 1e-6 });
});
