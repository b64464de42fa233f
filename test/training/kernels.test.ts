import { describe, expect, it } from 'vitest';
import { Arena } from '../../src/linalg/arena.js';
import { plainTrainingKernels } from '../../src/training/kernels.js';
import { wasmTrainingKernels } from '../../src/training/wasm-kernels.js';
import { fillRandom } from '../helpers.js';

const arena = new Arena();
const simd = wasmTrainingKernels(arena);

/** Random numbers in the arena, and the same outside of it. */
function pair(length: number, seed: number, scale = 1): [Float32Array, Float32Array] {
  const inside = fillRandom(arena.vector(length), seed);
  for (let i = 0; i < length; i++) inside[i] = (inside[i] as number) * scale;
  return [inside, inside.slice()];
}

// Exponentials come from a polynomial of degree 6, and sums are formed in fp32 lanes: some units in the last place.
const tolerance = { rtol: 5e-6, atol: 2e-6 };

describe('SIMD kernels equal the plain ones', () => {
  it.each([
    [3, 5],
    [2, 64],
    [4, 577],
  ])('rmsNormBackward of %i rows of %i', (rows, width) => {
    arena.scope(() => {
      const pairs = [
        pair(rows * width, 1, 3),
        pair(width, 2),
        pair(rows * width, 3),
        pair(rows * width, 4),
        pair(width, 5),
      ];
      const [a, b] = [0, 1].map((side) => pairs.map((each) => each[side])) as [Float32Array[], Float32Array[]];
      simd.rmsNormBackward(a[0]!, a[1]!, a[2]!, a[3]!, a[4]!, 1e-5);
      plainTrainingKernels.rmsNormBackward(b[0]!, b[1]!, b[2]!, b[3]!, b[4]!, 1e-5);
      expect(a[3]!).toBeAllclose(b[3]!, tolerance);
      expect(a[4]!).toBeAllclose(b[4]!, tolerance);
    });
  });

  it.each([1, 3, 4, 7, 1001])('siluMultiplyBackward of %i values', (length) => {
    arena.scope(() => {
      const [gate, plainGate] = pair(length, 1, 12);
      const [up, plainUp] = pair(length, 2);
      const [gradient] = pair(length, 3);
      simd.siluMultiplyBackward(gate, up, gradient);
      plainTrainingKernels.siluMultiplyBackward(plainGate, plainUp, gradient.slice());
      expect(gate).toBeAllclose(plainGate, tolerance);
      expect(up).toBeAllclose(plainUp, tolerance);
    });
  });

  it.each([
    [1, 1],
    [3, 5],
    [4, 577],
  ])('softmaxBackward of %i rows of %i', (rows, columns) => {
    arena.scope(() => {
      const [weights, plainWeights] = pair(rows * columns, 1);
      const [gradient, plainGradient] = pair(rows * columns, 2);
      const [sums, plainSums] = pair(rows, 3, 0.1);
      simd.softmaxBackward(weights, gradient, columns, sums);
      plainTrainingKernels.softmaxBackward(plainWeights, plainGradient, columns, plainSums);
      expect(weights).toBeAllclose(plainWeights, tolerance);
      expect(gradient).toBeAllclose(plainGradient, tolerance);
    });
  });

  it.each([
    [1, 1],
    [3, 5],
    [4, 577],
  ])('softmax of %i rows of %i', (rows, columns) => {
    arena.scope(() => {
      const [x, plain] = pair(rows * columns, 1, 30);
      const [logSums, plainLogSums] = [arena.doubles(rows), new Float64Array(rows)];
      simd.softmax(x, logSums);
      plainTrainingKernels.softmax(plain, plainLogSums);
      expect(x).toBeAllclose(plain, tolerance);
      for (const [row, value] of plainLogSums.entries()) expect(logSums[row]).toBeCloseTo(value, 5);
    });
  });
});
