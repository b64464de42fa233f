import { createHash } from 'node:crypto';
import type { TokenWindows } from '../calibration/windows.js';
import { type EngineName, engineNames } from '../linalg/engine.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import { blockTensor, finalNormName, type LinearName, linearNames } from '../models/llama/tensors.js';
import type { CompressOptions } from './compress-options.js';
import type { CompressionPlan } from './compression-plan.js';
import { type Fingerprint, storedFingerprint } from './run-folder.js';

/** Version of everything that decides a run's bytes; another one does not go on with its products. */
const runVersion = 1;

/** Tells a model from others: configuration, headers, and a few tensors, as headers alone would not tell a fine-tuned model. */
export function modelHash({ checkpoint, config }: LlamaModel): string {
  const tensors = [...checkpoint.tensors.values()].map(({ name, shape, dtype, bytes }) => [name, shape, dtype, bytes]);
  const hash = createHash('sha256').update(JSON.stringify([checkpoint.config, tensors]));
  const first = blockTensor(0, linearNames[0]);
  const last = blockTensor(config.layers - 1, linearNames.at(-1) as LinearName);
  for (const name of [finalNormName, first, last]) {
    const { data } = checkpoint.read(name);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}

/**
 * Everything that a run's bytes depend on.
 * @param model its {@link modelHash}.
 * @param parallelism workers and BLAS threads of both pools: sums are formed by them.
 */
export function fingerprintOf(
  model: string,
  windows: TokenWindows,
  plan: CompressionPlan,
  options: CompressOptions,
  choice: EngineChoice,
  parallelism: readonly number[],
): Fingerprint {
  const { sparsity, effort, seed, sequential } = options;
  return {
    version: runVersion,
    model,
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

/** Everything that a perplexity depends on. @param model its {@link modelHash}. */
export function evaluationFingerprint(model: string, evaluation: TokenWindows, choice: EngineChoice): Fingerprint {
  const { description } = createChosenEngine(choice);
  return {
    version: runVersion,
    model,
    evaluation: evaluation.hash,
    engine: choice.name,
    engineDescription: description,
  };
}

/** The engine with which the run in a folder began, if there is one that can be read. */
export function engineOfRun(folder: string): EngineName | undefined {
  const { engine } = storedFingerprint(folder) ?? {};
  return engineNames.find((name) => name === engine);
}
