import { describe, expect, it } from 'vitest';
import { Compute } from '../../../src/linalg/compute.js';
import { referenceEngine } from '../../../src/linalg/engines/reference.js';
import { plainLlamaKernels } from '../../../src/models/llama/kernels.js';
import { llamaKernels } from '../../../src/models/llama/wasm-kernels.js';
import { fillRandom } from '../../helpers.js';

const compute = new Compute(referenceEngine);
const { arena } = compute;
const simd = llamaKernels(compute);

/** Random numbers in the arena, and the same outside of it. */
function pair(length: number, seed: number, scale = 1): [Float32Array, Float32Array] {
  const inside = fillRandom(arena.vector(length), seed);
  for (let i = 0; i < length; i++) inside[i] = (inside[i] as number) * scale;
  return [inside, inside.slice()];
}

// Exponentials come from a polynomial of degree 6, and sums are formed in fp32 lanes: a few units in the last place.
const tolerance = { rtol: 2e-6, atol: 1e-7 };

describe('SIMD kernels equal the plain ones', () => {
  it.each([1, 3, 4, 7, 64, 1001])('siluMultiply of %i values', (length) => {
    arena.scope(() => {
      const [gate, plainGate] = pair(length, 1, 12);
      const [up, plainUp] = pair(length, 2);
      simd.siluMultiply(gate, up);
      plainLlamaKernels.siluMultiply(plainGate, plainUp);
      expect(gate).toBeAllclose(plainGate, tolerance);
    });
  });

  it.each([
    [3, 5],
    [2, 64],
    [4, 577],
  ])('rmsNorm of %i rows of %i', (rows, width) => {
    arena.scope(() => {
      const [x, plainX] = pair(rows * width, 3, 5);
      const [weight] = pair(width, 4);
      const target = arena.vector(x.length);
      const expected = new Float32Array(x.length);
      simd.rmsNorm(target, x, weight, 1e-5);
      plainLlamaKernels.rmsNorm(expected, plainX, weight, 1e-5);
      expect(target).toBeAllclose(expected, tolerance);
    });
  });

  it.each([
    [4, 9, 1, Number.POSITIVE_INFINITY],
    [16, 40, 25, 8],
    [1, 1, 1, 1],
    [5, 130, 126, 1000],
  ])('causalExponentials of %i x %i scores, %i visible at first, window %d', (rows, columns, first, window) => {
    arena.scope(() => {
      const [scores, plainScores] = pair(rows * columns, 5, 20);
      const sums = arena.vector(rows);
      const expected = new Float32Array(rows);
      simd.causalExponentials(scores, rows, columns, first, window, sums);
      plainLlamaKernels.causalExponentials(plainScores, rows, columns, first, window, expected);
      expect(scores).toBeAllclose(plainScores, tolerance);
      expect(sums).toBeAllclose(expected, tolerance);
    });
  });

  it('accumulateExponentials over slices', () => {
    arena.scope(() => {
      const rows = 3;
      const [maxima, sums] = [arena.doubles(rows).fill(Number.NEGATIVE_INFINITY), arena.doubles(rows)];
      const [plainMaxima, plainSums] = [maxima.slice(), sums.slice()];
      for (const [slice, columns] of [37, 64, 5].entries()) {
        const [logits, plainLogits] = pair(rows * columns, 10 + slice, 30);
        simd.accumulateExponentials(logits, columns, maxima, sums);
        plainLlamaKernels.accumulateExponentials(plainLogits, columns, plainMaxima, plainSums);
      }
      expect([...maxima]).toEqual([...plainMaxima]);
      for (let row = 0; row < rows; row++) {
        expect(Math.abs((sums[row] as number) / (plainSums[row] as number) - 1)).toBeLessThan(2e-6);
      }
    });
  });

  it('lets NaN through', () => {
    arena.scope(() => {
      const [gate] = pair(8, 1);
      const [up] = pair(8, 2);
      gate[5] = Number.NaN;
      simd.siluMultiply(gate, up);
      expect(gate[5]).toBeNaN();
      const [scores] = pair(8, 3);
      scores[2] = Number.NaN;
      const sums = arena.vector(1);
      simd.causalExponentials(scores, 1, 8, 8, Number.POSITIVE_INFINITY, sums);
      expect(sums[0]).toBeNaN();
    });
  });
});
