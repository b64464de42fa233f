import { expect, test } from 'vitest';
import { Compute } from '../../../src/linalg/compute.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import { type Matrix, zeros } from '../../../src/linalg/matrix.js';
import { type AttentionShape, attend } from '../../../src/models/llama/attention.js';
import { plainLlamaKernels } from '../../../src/models/llama/kernels.js';
import { randomMatrix } from '../../helpers.js';

/** By the definition, in float64. */
function reference({ heads, keyValueHeads, headSize, window }: AttentionShape, q: Matrix, k: Matrix, v: Matrix) {
  const output = zeros(q.rows, q.columns);
  for (let head = 0; head < heads; head++) {
    const shared = Math.floor((head * keyValueHeads) / heads) * headSize;
    for (let p = 0; p < q.rows; p++) {
      const from = window === null ? 0 : Math.max(0, p - window + 1);
      const weights = Array.from({ length: p - from + 1 }, (_, i) => {
        let score = 0;
        for (let c = 0; c < headSize; c++) {
          score += q.data[p * q.columns + head * headSize + c]! * k.data[(from + i) * k.columns + shared + c]!;
        }
        return Math.exp(score / Math.sqrt(headSize));
      });
      const sum = weights.reduce((a, b) => a + b, 0);
      for (let c = 0; c < headSize; c++) {
        output.data[p * q.columns + head * headSize + c] = weights.reduce(
          (total, weight, i) => total + (weight / sum) * v.data[(from + i) * v.columns + shared + c]!,
          0,
        );
      }
    }
  }
  return output;
}

const compute = new Compute(createEngine('wasm'));

test.each([
  ['one position', 1, { heads: 2, keyValueHeads: 1, headSize: 4, window: null }],
  ['one tile', 60, { heads: 4, keyValueHeads: 4, headSize: 8, window: null }],
  ['tiles and a rest, shared keys', 300, { heads: 6, keyValueHeads: 2, headSize: 6, window: null }],
  ['a window longer than the sequence', 140, { heads: 2, keyValueHeads: 1, headSize: 8, window: 1000 }],
  ['a window shorter than a tile', 300, { heads: 2, keyValueHeads: 2, headSize: 8, window: 20 }],
  ['a window over tiles', 400, { heads: 2, keyValueHeads: 1, headSize: 8, window: 200 }],
  ['a window of one', 150, { heads: 2, keyValueHeads: 1, headSize: 8, window: 1 }],
])('%s', (_, positions, shape) => {
  const scaled = (heads: number, seed: number): Matrix => {
    const matrix = randomMatrix(positions, heads * shape.headSize, seed);
    matrix.data.forEach((x, i) => {
      matrix.data[i] = 3 * x;
    });
    return matrix;
  };
  const [q, k, v] = [scaled(shape.heads, 1), scaled(shape.keyValueHeads, 2), scaled(shape.keyValueHeads, 3)];
  const output = randomMatrix(positions, shape.heads * shape.headSize, 4);
  attend(compute, plainLlamaKernels, shape, q, k, v, output);
  expect(output).toBeAllclose(reference(shape, q, k, v), { atol: 2e-5 });
});
