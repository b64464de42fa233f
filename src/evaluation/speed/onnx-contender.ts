import { openModel } from '../../models/llama/open-model.js';
import type { LoadedContender, SpeedSettings } from './contender.js';
import { openOnnxModel } from './onnx-model.js';
import { loadTimed, timedRounds } from './timed-rounds.js';

/**
 * onnxruntime-node on an export of a checkpoint.
 * @param path the checkpoint, for the shapes of the cache.
 * @throws DoubleSparseError of {@link openOnnxModel}
 */
export async function loadOnnxContender(path: string, file: string, settings: SpeedSettings): Promise<LoadedContender> {
  const { config, checkpoint } = openModel(path);
  checkpoint.close();
  const { model, ...loaded } = await loadTimed(() => openOnnxModel(file, config, settings.threads));
  return {
    report: { description: 'onnxruntime-node', ...loaded },
    round: timedRounds(model, config.vocabularySize, settings),
  };
}
