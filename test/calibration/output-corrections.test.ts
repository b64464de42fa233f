import { expect, test } from 'vitest';
import { withFittedScales } from '../../src/calibration/output-corrections.js';
import { relativeLayerError } from '../../src/factorization/layer-error.js';
import { magnitude } from '../../src/factorization/magnitude.js';
import { Compute } from '../../src/linalg/compute.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import { type Matrix, matrix, zeros } from '../../src/linalg/matrix.js';
import { randomMatrix } from '../helpers.js';

const compute = new Compute(createEngine('wasm'));
const options = { sparsity: 0.7, effort: 'fast', seed: 1 } as const;

function gramOf(inputs: Matrix): Matrix {
  const gram = zeros(inputs.columns, inputs.columns);
  compute.syrk(inputs, gram, { transpose: true });
  return gram;
}

test('no other scale of any output has less error, and zeros stay', () => {
  const [weight, gram] = [randomMatrix(6, 20, 1), gramOf(randomMatrix(60, 20, 2))];
  const pruned = magnitude(weight, gram, options, compute);
  const { factors, metrics } = withFittedScales(weight, gram, pruned, compute);
  const [scaled] = factors as [Matrix];
  expect(metrics.relativeError).toBeLessThan(pruned.metrics.relativeError);
  expect(metrics.relativeError).toBeCloseTo(relativeLayerError(weight, gram, factors, compute), 6);
  expect(scaled.data.map((value) => (value === 0 ? 0 : 1))).toEqual(
    pruned.factors[0]!.data.map((value) => (value === 0 ? 0 : 1)),
  );
  for (let row = 0; row < 6; row++) {
    for (const change of [0.98, 1.02]) {
      const data = scaled.data.map((value, i) => (Math.floor(i / 20) === row ? change * value : value));
      expect(relativeLayerError(weight, gram, [matrix(6, 20, data)], compute)).toBeGreaterThan(metrics.relativeError);
    }
  }
});

test('two factors: the first takes the scale; what is exact or zero stays as it is', () => {
  const [a, b] = [randomMatrix(5, 3, 3), randomMatrix(3, 8, 4)];
  const gram = gramOf(randomMatrix(30, 8, 5));
  const weight = zeros(5, 8);
  compute.gemm(a, b, weight);
  const { metrics } = magnitude(weight, gram, options, compute);
  const halved = { ...a, data: a.data.map((value) => value / 2) };
  const fitted = withFittedScales(weight, gram, { factors: [halved, b], metrics }, compute);
  expect(fitted.factors[0]!.data).toBeAllclose(a.data, { rtol: 1e-5 });
  expect(fitted.factors[1]).toBe(b);
  const nothing = { factors: [zeros(5, 8)], metrics: { ...metrics, relativeError: 1 } };
  expect(withFittedScales(weight, gram, nothing, compute)).toEqual(nothing);
});
