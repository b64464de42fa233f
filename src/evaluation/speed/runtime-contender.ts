import { CompressedCheckpoint } from '../../formats/container/checkpoint.js';
import { loadTokenModel } from '../../runtime/load-model.js';
import type { ContenderReport, LoadedContender, RuntimeContender, SpeedSettings } from './contender.js';
import { cacheBytesRead, productWork } from './roofline.js';
import { timedRounds } from './timed-rounds.js';
import { trialIds } from './trial-ids.js';

/** The runtime with a model, and with what `dsf tune` left beside it. */
export async function loadRuntimeContender(
  { path, representation }: RuntimeContender,
  settings: SpeedSettings,
): Promise<LoadedContender> {
  const { threads, prompts, tokens } = settings;
  const loaded = await loadTokenModel(path, {
    threads,
    capacity: Math.max(...prompts) + tokens,
    ...(representation && { representation }),
  });
  const { model, config, checkpoint } = loaded;
  const first = prompts[0] as number;
  await model.extend(trialIds(1, model.vocabularySize));
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
  const timed = {
    extend: (ids: Uint32Array) => model.extend(ids),
    reset: () => model.truncate(0),
  };
  return { report, round: timedRounds(timed, model.vocabularySize, settings) };
}
