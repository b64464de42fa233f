import { describe, expect, it } from 'vitest';
import { convolutionAxes } from '../../src/calibration/convolution-geometry.js';
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

  it.each([
    ['3 x 3', 3, 1, 1, 1, 5, 0, 5],
    ['with strides and dilation', 2, 2, 1, 2, 6, 0, 6],
    ['of some channels', 3, 2, 2, 1, 6, 2, 3],
  ])('patches %s', (_, kernel, stride, pad, dilation, columns, first, count) => {
    const twice = (value: number) => [value, value];
    const geometry = { kernel: twice(kernel), strides: twice(stride), dilations: twice(dilation) };
    const [height, width] = convolutionAxes({ ...geometry, pads: [pad, pad, 0, pad], autoPad: 'NOTSET' }, [7, 6]);
    const windows = { height, width };
    const [rows, size] = [2 * height.output * width.output, kernel * kernel * count];
    arena.scope(() => {
      const [image, plainImage] = pair(2 * 42 * columns, 1);
      const [patches, plainPatches] = pair(rows * size, 2);
      const x = (data: Float32Array) => ({ rows: 84, columns, data });
      const p = (data: Float32Array) => ({ rows, columns: size, data });
      const channels = { first, count };
      simd.gatherPatches(windows, x(image), channels, p(patches));
      plainTrainingKernels.gatherPatches(windows, x(plainImage), channels, p(plainPatches));
      expect(patches).toHaveSameBits(plainPatches);
      simd.scatterPatches(windows, p(patches), channels, x(image));
      plainTrainingKernels.scatterPatches(windows, p(plainPatches), channels, x(plainImage));
      expect(image).toBeAllclose(plainImage, tolerance);
    });
  });

  it.each([1, 4, 7])('scaleAndShift of %i columns and its derivative', (columns) => {
    arena.scope(() => {
      const pairs = [5 * columns, 5 * columns, 5 * columns, columns, columns, columns].map((size, i) => pair(size, i));
      const [a, b] = [0, 1].map((side) => pairs.map((each) => each[side])) as [Float32Array[], Float32Array[]];
      for (const [kernels, [toX, gradient, x, factors, toFactors, toOffsets]] of [
        [simd, a],
        [plainTrainingKernels, b],
      ] as const) {
        kernels.scaleAndShiftBackward(toX!, gradient!, x!, factors!, toFactors!, toOffsets!);
        kernels.scaleAndShift(gradient!, x!, factors!, toOffsets!);
      }
      for (const [i, value] of a.entries()) expect(value).toBeAllclose(b[i]!, tolerance);
    });
  });

  it.each([1, 4, 7])('relu of %i values and its derivative', (length) => {
    arena.scope(() => {
      const [x, plainX] = pair(length, 1);
      const [gradient, plainGradient] = pair(length, 2);
      const [result, plainResult] = [arena.vector(length), new Float32Array(length)];
      simd.relu(result, x);
      plainTrainingKernels.relu(plainResult, plainX);
      simd.reluBackward(x, gradient, result);
      plainTrainingKernels.reluBackward(plainX, plainGradient, plainResult);
      expect(result).toHaveSameBits(plainResult);
      expect(x).toHaveSameBits(plainX);
    });
  });
});
