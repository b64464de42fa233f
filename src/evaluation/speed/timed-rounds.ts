import type { LoadedContender, SpeedSettings } from './contender.js';
import { trialIds } from './trial-ids.js';

/** A model that computes token by token, whatever runs it. */
export interface TimedModel {
  /** Appends ids, and computes the logits behind the last one at least. */
  extend(ids: Uint32Array): Promise<unknown>;
  /** Forgets all positions. */
  reset(): void | Promise<void>;
}

/** A round of any model: each prompt from the beginning, and tokens one at a time behind the first. */
export function timedRounds(
  model: TimedModel,
  vocabularySize: number,
  { prompts, tokens }: SpeedSettings,
): LoadedContender['round'] {
  const longest = trialIds(Math.max(...prompts), vocabularySize);
  const timed = async (ids: Uint32Array): Promise<number> => {
    const start = performance.now();
    await model.extend(ids);
    return performance.now() - start;
  };
  return async () => {
    const times: number[] = [];
    let perToken = 0;
    for (const length of prompts) {
      await model.reset();
      times.push(await timed(longest.subarray(0, length)));
      if (length !== prompts[0]) continue;
      for (let i = 0; i < tokens; i++)
        perToken += (await timed(longest.subarray(i % length, (i % length) + 1))) / tokens;
    }
    return { prompts: times, perToken, residentBytes: process.memoryUsage.rss() };
  };
}

/** Loads a model and computes one token with it, which is not part of the time. */
export async function loadTimed(
  load: () => Promise<TimedModel>,
): Promise<{ model: TimedModel; loadSeconds: number; residentBytes: number }> {
  const start = performance.now();
  const model = await load();
  const loadSeconds = (performance.now() - start) / 1000;
  await model.extend(trialIds(1, 2));
  return { model, loadSeconds, residentBytes: process.memoryUsage.rss() };
}
