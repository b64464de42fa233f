import { describe, expect, test } from 'vitest';
import { addCrossGram, addGram, meanCrossGram, meanGram } from '../../src/calibration/gram.js';
import { Compute } from '../../src/linalg/compute.js';
import { type EngineName, engineNames } from '../../src/linalg/engine.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import { type Matrix, zeros } from '../../src/linalg/matrix.js';
import { randomMatrix } from '../helpers.js';

/** (1/N) sum d x^T in float64, by the definition. */
function mean(pairs: readonly (readonly [Matrix, Matrix])[]): Float64Array {
  const n = pairs[0]?.[0].columns ?? 0;
  const result = new Float64Array(n * n);
  const count = pairs.reduce((sum, [d]) => sum + d.rows, 0);
  for (const [d, x] of pairs) {
    for (let p = 0; p < d.rows; p++) {
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) result[i * n + j]! += (d.data[p * n + i]! * x.data[p * n + j]!) / count;
      }
    }
  }
  return result;
}

function computeOf(name: EngineName): Compute | undefined {
  try {
    return new Compute(createEngine(name));
  } catch {
    return undefined;
  }
}

describe.each(engineNames)('%s', (name) => {
  const compute = computeOf(name);
  const inputs = [30, 17, 5, 40].map((rows, seed) => randomMatrix(rows, 33, seed));
  const dense = [30, 17, 5, 40].map((rows, seed) => randomMatrix(rows, 33, 100 + seed));
  const garbage = (): Matrix => ({ ...zeros(33, 33), data: new Float32Array(33 * 33).fill(Number.NaN) });

  test.skipIf(!compute)('partial sums of two threads make the mean, symmetric to the bit', () => {
    const sums: [Matrix, Matrix] = [garbage(), garbage()];
    for (const [i, x] of inputs.entries()) addGram(compute!, x, sums[i % 2]!, i < 2);
    const gram = meanGram(sums, 92);
    expect(gram).toBeAllclose(mean(inputs.map((x) => [x, x])), { rtol: 1e-5, atol: 1e-6 });
    for (let i = 0; i < 33; i++) for (let j = 0; j < i; j++) expect(gram.data[i * 33 + j]).toBe(gram.data[j * 33 + i]);
  });

  test.skipIf(!compute)('the cross Gram matrix has the dense inputs in its rows', () => {
    const sum = garbage();
    for (const [i, x] of inputs.entries()) addCrossGram(compute!, dense[i]!, x, sum, i === 0);
    const expected = mean(inputs.map((x, i) => [dense[i]!, x]));
    expect(meanCrossGram([sum], 92)).toBeAllclose(expected, { rtol: 1e-5, atol: 1e-6 });
  });
});
