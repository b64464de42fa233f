import { expect, test } from 'vitest';
import { InputGram } from '../../src/calibration/input-gram.js';
import { linearProblem } from '../../src/calibration/linear-target.js';
import { invertPositiveDefinite } from '../../src/linalg/cholesky.js';
import { Compute } from '../../src/linalg/compute.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import { matrix, zeros } from '../../src/linalg/matrix.js';
import '../helpers.js';
import { fillRandom, randomMatrix } from '../helpers.js';

const [inputs, outputs, constantInputs] = [400, 5, 360];

/** Statistics of inputs that hardly vary around large means, but for the last ones; the first one is zero. */
function statistics(compute: Compute, deviation: number) {
  const gram = new InputGram(compute, inputs, outputs);
  for (let batch = 0; batch < 10; batch++) {
    const values = fillRandom(new Float32Array(1000 * inputs), 10 + batch);
    for (let i = 0; i < values.length; i++) {
      const input = i % inputs;
      if (input < constantInputs) values[i] = input * (0.0137 + deviation * values[i]!);
    }
    gram.addRows(matrix(1000, inputs, values), randomMatrix(1000, outputs, 30 + batch));
  }
  return gram.finish();
}

test.each([0, 1e-6, 1e-5])(
  'inputs that hardly vary (%d): S is positive definite at any scale of inputs',
  (deviation) => {
    const compute = new Compute(createEngine('wasm'));
    const weight = randomMatrix(outputs, inputs, 2);
    const { gram, weight: wanted } = linearProblem(weight, [statistics(compute, deviation)], true, compute);
    const scales = Float64Array.from({ length: inputs }, (_, i) => Math.sqrt(gram.data[i * inputs + i]!));
    // In units of each standard deviation, as ADMM sees it, with its ridge.
    const scaled = zeros(inputs, inputs);
    for (let i = 0; i < inputs; i++) {
      for (let j = 0; j < inputs; j++)
        scaled.data[i * inputs + j] = gram.data[i * inputs + j]! / ((scales[i]! + 1e-8) * (scales[j]! + 1e-8));
      scaled.data[i * inputs + i]! += 0.1;
    }
    expect(invertPositiveDefinite(scaled, compute)).toBe(true);
    if (deviation > 0) {
      // Uniform in +-1: a variance of 1/3.
      const [first, last] = [scales[100]!, scales[constantInputs - 1]!];
      expect(first / (100 * deviation * Math.sqrt(1 / 3))).toBeCloseTo(1, 1);
      expect(last / ((constantInputs - 1) * deviation * Math.sqrt(1 / 3))).toBeCloseTo(1, 1);
      return;
    }
    // A constant says nothing of its weight.
    expect(scales.subarray(0, constantInputs)).toEqual(new Float64Array(constantInputs));
    for (let row = 0; row < outputs; row++)
      for (let i = 0; i < constantInputs; i++)
        expect(wanted.data[row * inputs + i]).toBeCloseTo(weight.data[row * inputs + i]!, 6);
  },
);
