import { openCheckpoint } from '../../formats/open-checkpoint.js';
import { Compute } from '../../linalg/compute.js';
import { createEngine } from '../../linalg/engines/select.js';
import { LlamaModel } from './model.js';

/**
 * Opens a model of the LLaMA family, dense or compressed; compressed weights are expanded by the machine's engine.
 * @throws DoubleSparseError of {@link openCheckpoint} and {@link LlamaModel}
 */
export function openModel(path: string): LlamaModel {
  let compute: Compute | undefined;
  const checkpoint = openCheckpoint(path, {
    multiply(a, b, target) {
      compute ??= new Compute(createEngine());
      compute.gemm(a, b, target);
    },
  });
  try {
    return new LlamaModel(checkpoint);
  } catch (error) {
    checkpoint.close();
    throw error;
  }
}
