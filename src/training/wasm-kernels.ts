import type { Axis } from '../calibration/convolution-geometry.js';
import type { Arena } from '../linalg/arena.js';
import type { Matrix } from '../linalg/matrix.js';
import { instantiateKernels } from '../linalg/wasm-kernels.js';
import { type ChannelRange, plainTrainingKernels, type TrainingKernels } from './kernels.js';
import { imagesOf, type Windows } from './windows.js';

/** In the order of assembly/images.ts. */
const sizesOf = ({ input, output, kernel, stride, dilation, begin }: Axis): number[] => [
  ...[input, output, kernel, stride, dilation, begin],
];

/** SIMD kernels for arrays of the arena; any other array goes to {@link plainTrainingKernels}. */
export function wasmTrainingKernels(arena: Arena): TrainingKernels {
  const wasm = instantiateKernels(arena);
  const inside = (...arrays: (Float32Array | Float64Array)[]): boolean => arrays.every((array) => arena.owns(array));
  const movePatches = (
    windows: Windows,
    x: Matrix,
    { first, count }: ChannelRange,
    patches: Matrix,
    scatter: boolean,
  ) =>
    arena.scope(() => {
      const axes = arena.vector(12);
      new Int32Array(axes.buffer, axes.byteOffset, 12).set([windows.height, windows.width].flatMap(sizesOf));
      const images = imagesOf(windows, x);
      const [image, patch] = [x.data.byteOffset, patches.data.byteOffset];
      wasm.movePatches(image, patch, axes.byteOffset, images, x.columns, first, count, scatter);
    });
  return {
    gatherPatches(windows, x, channels, patches) {
      if (!inside(x.data, patches.data)) return plainTrainingKernels.gatherPatches(windows, x, channels, patches);
      movePatches(windows, x, channels, patches, false);
    },
    scatterPatches(windows, patches, channels, x) {
      if (!inside(x.data, patches.data)) return plainTrainingKernels.scatterPatches(windows, patches, channels, x);
      movePatches(windows, x, channels, patches, true);
    },
    scaleAndShift(target, x, factors, offsets) {
      if (!inside(target, x, factors, offsets)) return plainTrainingKernels.scaleAndShift(target, x, factors, offsets);
      const columns = factors.length;
      const pointers = [target, x, factors, offsets].map(({ byteOffset }) => byteOffset) as [
        number,
        number,
        number,
        number,
      ];
      wasm.scaleAndShift(...pointers, x.length / columns, columns);
    },
    scaleAndShiftBackward(toX, gradient, x, factors, toFactors, toOffsets) {
      const arrays = [toX, gradient, x, factors, toFactors, toOffsets] as const;
      if (!inside(...arrays)) return plainTrainingKernels.scaleAndShiftBackward(...arrays);
      const pointers = arrays.map(({ byteOffset }) => byteOffset) as [number, number, number, number, number, number];
      wasm.scaleAndShiftBackward(...pointers, x.length / factors.length, factors.length);
    },
    relu(target, x) {
      if (!inside(target, x)) return plainTrainingKernels.relu(target, x);
      wasm.relu(target.byteOffset, x.byteOffset, x.length);
    },
    reluBackward(toX, gradient, result) {
      if (!inside(toX, gradient, result)) return plainTrainingKernels.reluBackward(toX, gradient, result);
      wasm.reluBackward(toX.byteOffset, gradient.byteOffset, result.byteOffset, result.length);
    },
    rmsNormBackward(x, weight, gradient, toX, toWeight, epsilon) {
      if (!inside(x, gradient, toX, toWeight)) {
        return plainTrainingKernels.rmsNormBackward(x, weight, gradient, toX, toWeight, epsilon);
      }
      arena.scope(() => {
        // Weights lie in memory that all threads share, not in this thread's arena.
        const local = arena.vector(weight.length);
        local.set(weight);
        wasm.rmsNormBackward(
          x.byteOffset,
          local.byteOffset,
          gradient.byteOffset,
          toX.byteOffset,
          toWeight.byteOffset,
          x.length / weight.length,
          weight.length,
          epsilon,
        );
      });
    },
    siluMultiplyBackward(gate, up, gradient) {
      if (!inside(gate, up, gradient)) return plainTrainingKernels.siluMultiplyBackward(gate, up, gradient);
      wasm.siluMultiplyBackward(gate.byteOffset, up.byteOffset, gradient.byteOffset, gate.length);
    },
    softmaxBackward(weights, gradient, columns, inverseSums) {
      if (!inside(weights, gradient, inverseSums)) {
        return plainTrainingKernels.softmaxBackward(weights, gradient, columns, inverseSums);
      }
      wasm.softmaxBackward(
        weights.byteOffset,
        gradient.byteOffset,
        inverseSums.length,
        columns,
        inverseSums.byteOffset,
      );
    },
    softmax(x, logSums) {
      if (!inside(x, logSums)) return plainTrainingKernels.softmax(x, logSums);
      wasm.softmax(x.byteOffset, logSums.length, x.length / logSums.length, logSums.byteOffset);
    },
  };
}
