import { InferenceSession, Tensor } from 'onnxruntime-node';
import { DoubleSparseError } from '../../errors.js';
import { openModel } from '../../models/llama/open-model.js';
import type { LoadedContender, SpeedSettings } from './contender.js';
import { trialIds } from './trial-ids.js';

/**
 * onnxruntime-node on an export with keys and values as inputs, as transformers.js runs it: input_ids, attention_mask,
 * position_ids where it has them, past_key_values.N.key and .value; logits and present.N.key and .value.
 * @param path the checkpoint, for the shapes of the cache.
 * @throws DoubleSparseError `file-unsupported` for an export with other inputs
 */
export async function loadOnnxContender(
  path: string,
  file: string,
  { threads, prompts, tokens }: SpeedSettings,
): Promise<LoadedContender> {
  const { config, checkpoint } = openModel(path);
  checkpoint.close();
  const { layers, keyValueHeads, headSize, vocabularySize } = config;
  const start = performance.now();
  const session = await InferenceSession.create(file, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
  });
  const loadSeconds = (performance.now() - start) / 1000;
  const past = Array.from({ length: layers }, (_, layer) => [`${layer}.key`, `${layer}.value`]).flat();
  const known = ['input_ids', 'attention_mask', 'position_ids', ...past.map((name) => `past_key_values.${name}`)];
  const unknown = session.inputNames.filter((name) => !known.includes(name));
  if (unknown.length > 0 || !session.inputNames.includes(`past_key_values.${past[0]}`)) {
    throw new DoubleSparseError('file-unsupported', `${file} is not an export with keys and values as inputs`, {
      data: { file, unknown },
      hint: 'export it with its cache (task text-generation-with-past)',
    });
  }
  const empty = (): Record<string, Tensor> =>
    Object.fromEntries(past.map((name) => [name, new Tensor('float32', [], [1, keyValueHeads, 0, headSize])]));
  let cache = empty();
  let position = 0;
  const extend = async (ids: Uint32Array): Promise<number> => {
    const begin = performance.now();
    const row = (length: number, value: (i: number) => number): Tensor =>
      new Tensor(
        'int64',
        BigInt64Array.from({ length }, (_, i) => BigInt(value(i))),
        [1, length],
      );
    const feeds: Record<string, Tensor> = {
      input_ids: row(ids.length, (i) => ids[i] as number),
      attention_mask: row(position + ids.length, () => 1),
      ...Object.fromEntries(past.map((name) => [`past_key_values.${name}`, cache[name] as Tensor])),
    };
    if (session.inputNames.includes('position_ids')) feeds.position_ids = row(ids.length, (i) => position + i);
    const results = await session.run(feeds);
    cache = Object.fromEntries(past.map((name) => [name, results[`present.${name}`] as Tensor]));
    position += ids.length;
    return performance.now() - begin;
  };
  const longest = trialIds(Math.max(...prompts), vocabularySize);
  await extend(longest.subarray(0, 1));
  return {
    report: { description: 'onnxruntime-node', loadSeconds, residentBytes: process.memoryUsage.rss() },
    async round() {
      const times: number[] = [];
      let perToken = 0;
      for (const length of prompts) {
        cache = empty();
        position = 0;
        times.push(await extend(longest.subarray(0, length)));
        if (length !== prompts[0]) continue;
        for (let i = 0; i < tokens; i++) perToken += (await extend(longest.subarray(i, i + 1))) / tokens;
      }
      return { prompts: times, perToken, residentBytes: process.memoryUsage.rss() };
    },
  };
}
