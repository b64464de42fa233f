import { createHash } from 'node:crypto';
import type { TokenWindows } from '../calibration/windows.js';
import { type EngineName, engineNames } from '../linalg/engine.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import { finalNormName } from '../models/llama/tensors.js';
import type { CompressOptions } from './compress-options.js';
import type { CompressionPlan } from './compression-plan.js';
import { type Fingerprint, storedFingerprint } from './run-folder.js';

/** Version of everything that decides a run's bytes; another one does not go on with its products. */
const runVersion = 1;

/** Everything that a run's bytes depend on. @param parallelism workers and BLAS threads of both pools: sums are formed by them. */
export function fingerprintOf(
  model: LlamaModel,
  windows: TokenWindows,
  plan: CompressionPlan,
  options: CompressOptions,
  choice: EngineChoice,
  parallelism: readonly number[],
): Fingerprint {
  const { checkpoint } = model;
  const tensors = [...checkpoint.tensors.values()].map(({ name, shape, dtype, bytes }) => [name, shape, dtype, bytes]);
  const hash = createHash('sha256').update(JSON.stringify([checkpoint.config, tensors]));
  // Headers alone would not tell a fine-tuned model from its base.
  const [first, last] = [plan.units[0], plan.units.at(-1)].map((unit) => unit?.members[0]?.weight ?? finalNormName);
  for (const name of [finalNormName, first as string, last as string]) {
    const { data } = checkpoint.read(name);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  const { sparsity, effort, seed, sequential } = options;
  return {
    version: runVersion,
    model: hash.digest('hex'),
    calibration: windows.hash,
    method: plan.method,
    sparsity,
    effort,
    seed,
    sequential,
    weights: createHash('sha256').update(JSON.stringify(plan.units)).digest('hex'),
    engine: choice.name,
    engineDescription: createChosenEngine(choice).description,
    parallelism,
  };
}

/** The engine with which the run in a folder began, if there is one that can be read. */
export function engineOfRun(folder: string): EngineName | undefined {
  const { engine } = storedFingerprint(folder) ?? {};
  return engineNames.find((name) => name === engine);
}
