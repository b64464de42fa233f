import { expect, test } from 'vitest';
import { InputGram } from '../../src/calibration/input-gram.js';
import { linearProblem } from '../../src/calibration/linear-target.js';
import { Compute } from '../../src/linalg/compute.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import { matrix } from '../../src/linalg/matrix.js';
import '../helpers.js';
import { fillRandom, randomMatrix } from '../helpers.js';

test('inputs that do not vary have no negative variance, and their weights stay', () => {
  const compute = new Compute(createEngine('reference'));
  const [count, inputs, outputs] = [3000, 24, 5];
  const values = fillRandom(new Float32Array(count * inputs), 1);
  // Every second input is a constant that no sum in fp32 squares exactly; one is zero.
  for (let i = 0; i < values.length; i++) {
    const input = i % inputs;
    if (input === 4) values[i] = 0;
    else if (input % 2 === 0) values[i] = 0.1 + 0.37 * input;
  }
  const weight = randomMatrix(outputs, inputs, 2);
  const gram = new InputGram(compute, inputs, outputs);
  const targets = randomMatrix(count, outputs, 3);
  gram.addRows(matrix(count, inputs, values), targets);
  const problem = linearProblem(weight, [gram.finish()], true, compute);
  for (let i = 0; i < inputs; i++) {
    const variance = problem.gram.data[i * inputs + i]!;
    if (i === 4) expect(variance).toBe(0);
    else if (i % 2 === 0) {
      expect(variance).toBeGreaterThan(0);
      expect(variance).toBeLessThan(1e-4);
      for (let j = 0; j < inputs; j++) if (j !== i) expect(problem.gram.data[i * inputs + j]).toBe(0);
      for (let row = 0; row < outputs; row++)
        expect(problem.weight.data[row * inputs + i]).toBeCloseTo(weight.data[row * inputs + i]!, 6);
    } else expect(variance).toBeGreaterThan(0.2);
  }
});
