import { resolve } from 'node:path';
import { openModel } from '../../models/llama/open-model.js';
import type { LoadedContender, SpeedSettings } from './contender.js';
import { importPackage } from './installed-package.js';
import { loadTimed, type TimedModel, timedRounds } from './timed-rounds.js';

/** What is used of @huggingface/transformers 4. */
interface TransformersModule {
  readonly env: { version: string; allowRemoteModels: boolean };
  readonly AutoModelForCausalLM: {
    from_pretrained(path: string, options: Record<string, unknown>): Promise<TransformersModel>;
  };
  readonly Tensor: new (type: string, data: BigInt64Array, dims: readonly number[]) => unknown;
  readonly DynamicCache: new (entries: Record<string, unknown>) => unknown;
}

type TransformersModel = (inputs: Record<string, unknown>) => Promise<Record<string, unknown>>;

/**
 * transformers.js on the fp32 export of a checkpoint (PATH/onnx/model.onnx).
 * @param module file of the package.
 * @throws DoubleSparseError `file-unsupported` for a package with another interface
 */
export async function loadTransformersContender(
  path: string,
  module: string,
  settings: SpeedSettings,
): Promise<LoadedContender> {
  const { config, checkpoint } = openModel(path);
  checkpoint.close();
  const names = ['env', 'AutoModelForCausalLM', 'Tensor', 'DynamicCache'];
  const transformers = await importPackage<TransformersModule>(module, names);
  const { model, ...loaded } = await loadTimed(() => openTransformersModel(transformers, path, settings.threads));
  return {
    report: { description: `transformers.js ${transformers.env.version}, fp32`, ...loaded },
    round: timedRounds(model, config.vocabularySize, settings),
  };
}

async function openTransformersModel(
  { env, AutoModelForCausalLM, Tensor, DynamicCache }: TransformersModule,
  path: string,
  threads: number,
): Promise<TimedModel> {
  env.allowRemoteModels = false;
  // What is no absolute path would be an id to it.
  const run = await AutoModelForCausalLM.from_pretrained(resolve(path), {
    dtype: 'fp32',
    device: 'cpu',
    local_files_only: true,
    session_options: { intraOpNumThreads: threads, interOpNumThreads: 1 },
  });
  let cache: unknown;
  let position = 0;
  const integers = (values: readonly number[]): unknown =>
    new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
  return {
    reset() {
      cache = undefined;
      position = 0;
    },
    async extend(ids) {
      position += ids.length;
      const results = await run({
        input_ids: integers([...ids]),
        attention_mask: integers(new Array<number>(position).fill(1)),
        ...(cache !== undefined && { past_key_values: cache }),
      });
      const present = Object.entries(results).filter(([name]) => name.startsWith('present.'));
      cache = new DynamicCache(
        Object.fromEntries(present.map(([name, tensor]) => [name.replace('present', 'past_key_values'), tensor])),
      );
    },
  };
}
