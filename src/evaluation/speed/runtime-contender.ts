import { CompressedCheckpoint } from '../../formats/container/checkpoint.js';
import { loadTokenModel } from '../../runtime/load-model.js';
import type { ContenderReport, LoadedContender, RuntimeContender, SpeedSettings } from './contender.js';
import { cacheBytesRead, productWork } from './roofline.js';
import { trialIds } from './trial-ids.js';

/** The runtime with a model, and with what `dsf tune` left beside it. */
export async function loadRuntimeContender(
  { path, representation }: RuntimeContender,
  { threads, prompts, tokens }: SpeedSettings,
): Promise<LoadedContender> {
  const loaded = await loadTokenModel(path, {
    threads,
    capacity: Math.max(...prompts) + tokens,
    ...(representation && { representation }),
  });
  const { model, config, checkpoint } = loaded;
  const longest = trialIds(Math.max(...prompts), model.vocabularySize);
  const first = prompts[0] as number;
  await model.extend(longest.subarray(0, 1));
  const representations: Record<string, number> = {};
  for (const name of Object.values(loaded.plan)) representations[name] = (representations[name] ?? 0) + 1;
  const report: ContenderReport = {
    description: `${loaded.kernels} kernels`,
    loadSeconds: loaded.loadSeconds,
    residentBytes: process.memoryUsage.rss(),
    model: {
      compressed: checkpoint instanceof CompressedCheckpoint,
      weightBytes: loaded.weightBytes,
      tokenBytes: loaded.tokenBytes,
      cacheBytes: cacheBytesRead(config, first + tokens / 2),
      work: productWork(checkpoint, config, loaded.plan),
      representations,
      ...(loaded.tuningIgnored !== undefined && { tuningIgnored: loaded.tuningIgnored }),
    },
  };
  const timed = async (ids: Uint32Array): Promise<number> => {
    const start = performance.now();
    await model.extend(ids);
    return performance.now() - start;
  };
  return {
    report,
    async round() {
      const times: number[] = [];
      let perToken = 0;
      for (const length of prompts) {
        model.truncate(0);
        times.push(await timed(longest.subarray(0, length)));
        if (length !== first) continue;
        for (let i = 0; i < tokens; i++) perToken += (await timed(longest.subarray(i, i + 1))) / tokens;
      }
      return { prompts: times, perToken, residentBytes: process.memoryUsage.rss() };
    },
  };
}
