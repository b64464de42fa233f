import type { Compute } from '../../linalg/compute.js';
import { instantiateKernels } from '../../linalg/wasm-kernels.js';
import { type LlamaKernels, plainLlamaKernels } from './kernels.js';

/** Largest window that fits the kernels' unsigned numbers; more is as good as none. */
const widest = 0xffff_ffff;
const kernels = new WeakMap<Compute, LlamaKernels>();

/**
 * SIMD kernels for arrays of the computer's arena, within 1e-6 of the plain ones (exponentials by a polynomial); any
 * other array goes to {@link plainLlamaKernels}. Made once for each computer.
 */
export function llamaKernels(compute: Compute): LlamaKernels {
  const known = kernels.get(compute);
  if (known) return known;
  const made = makeKernels(compute);
  kernels.set(compute, made);
  return made;
}

function makeKernels({ arena }: Compute): LlamaKernels {
  const wasm = instantiateKernels(arena);
  return {
    rotate: plainLlamaKernels.rotate,
    rmsNorm(target, x, weight, epsilon) {
      if (!arena.owns(target) || !arena.owns(x)) return plainLlamaKernels.rmsNorm(target, x, weight, epsilon);
      arena.scope(() => {
        // Weights lie in memory that all threads share, not in this thread's arena.
        const local = arena.vector(weight.length);
        local.set(weight);
        const rows = x.length / weight.length;
        wasm.rmsNorm(target.byteOffset, x.byteOffset, local.byteOffset, rows, weight.length, epsilon);
      });
    },
    causalExponentials(scores, rows, columns, first, window, inverseSums) {
      if (!arena.owns(scores) || !arena.owns(inverseSums)) {
        return plainLlamaKernels.causalExponentials(scores, rows, columns, first, window, inverseSums);
      }
      const reach = Math.min(window, widest);
      wasm.causalExponentials(scores.byteOffset, rows, columns, first, reach, inverseSums.byteOffset);
    },
    siluMultiply(gate, up) {
      if (!arena.owns(gate) || !arena.owns(up)) return plainLlamaKernels.siluMultiply(gate, up);
      wasm.siluMultiply(gate.byteOffset, up.byteOffset, gate.length);
    },
    accumulateExponentials(logits, columns, maxima, sums) {
      if (!arena.owns(logits) || !arena.owns(maxima) || !arena.owns(sums)) {
        return plainLlamaKernels.accumulateExponentials(logits, columns, maxima, sums);
      }
      wasm.accumulateExponentials(logits.byteOffset, maxima.length, columns, maxima.byteOffset, sums.byteOffset);
    },
  };
}
