import { openCheckpoint } from '../../formats/open-checkpoint.js';
import { Compute } from '../../linalg/compute.js';
import { chooseEngine, createChosenEngine, type EngineChoice } from '../../linalg/engines/select.js';
import { LlamaModel } from './model.js';

/**
 * Opens a model of the LLaMA family, dense or compressed.
 * @param engine that expands compressed weights, with one thread: another engine or number of threads rounds differently
 *   (default: the fastest on the machine at this moment).
 * @throws DoubleSparseError of {@link openCheckpoint} and {@link LlamaModel}
 */
export function openModel(path: string, engine?: EngineChoice): LlamaModel {
  let compute: Compute | undefined;
  const checkpoint = openCheckpoint(path, {
    multiply(a, b, target) {
      compute ??= new Compute(createChosenEngine(engine ?? chooseEngine()));
      // A number of the whole process, which others change.
      compute.engine.setThreads(1);
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
