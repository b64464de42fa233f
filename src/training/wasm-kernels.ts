import type { Arena } from '../linalg/arena.js';
import { instantiateKernels } from '../linalg/wasm-kernels.js';
import { plainTrainingKernels, type TrainingKernels } from './kernels.js';

/** SIMD kernels for arrays of the arena; any other array goes to {@link plainTrainingKernels}. */
export function wasmTrainingKernels(arena: Arena): TrainingKernels {
  const wasm = instantiateKernels(arena);
  const inside = (...arrays: (Float32Array | Float64Array)[]): boolean => arrays.every((array) => arena.owns(array));
  return {
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
