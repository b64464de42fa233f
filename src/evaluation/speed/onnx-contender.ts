import { openModel } from '../../models/llama/open-model.js';
import type { LoadedContender, SpeedSettings } from './contender.js';
import { openOnnxModel } from './onnx-model.js';
import { trialIds } from './trial-ids.js';

/**
 * onnxruntime-node on an export of a checkpoint.
 * @param path the checkpoint, for the shapes of the cache.
 * @throws DoubleSparseError of {@link openOnnxModel}
 */
export async function loadOnnxContender(
  path: string,
  file: string,
  { threads, prompts, tokens }: SpeedSettings,
): Promise<LoadedContender> {
  const { config, checkpoint } = openModel(path);
  checkpoint.close();
  const start = performance.now();
  const model = await openOnnxModel(file, config, threads);
  const loadSeconds = (performance.now() - start) / 1000;
  const longest = trialIds(Math.max(...prompts), config.vocabularySize);
  await model.extend(longest.subarray(0, 1));
  const timed = async (ids: Uint32Array): Promise<number> => {
    const begin = performance.now();
    await model.extend(ids);
    return performance.now() - begin;
  };
  return {
    report: { description: 'onnxruntime-node', loadSeconds, residentBytes: process.memoryUsage.rss() },
    async round() {
      const times: number[] = [];
      let perToken = 0;
      for (const length of prompts) {
        model.reset();
        times.push(await timed(longest.subarray(0, length)));
        if (length !== prompts[0]) continue;
        for (let i = 0; i < tokens; i++) perToken += (await timed(longest.subarray(i, i + 1))) / tokens;
      }
      return { prompts: times, perToken, residentBytes: process.memoryUsage.rss() };
    },
  };
}
