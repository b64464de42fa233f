import { createHash } from 'node:crypto';
import type { TokenWindows } from '../calibration/windows.js';
import { type EngineName, engineNames } from '../linalg/engine.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import { type Matrix, matrix } from '../linalg/matrix.js';
import type { LlamaModel } from '../models/llama/model.js';
import type { CompressOptions } from './compress-options.js';
import type { CompressionPlan } from './compression-plan.js';
import { type Fingerprint, storedFingerprint } from './run-folder.js';

/** Version of everything that decides a run's bytes; another one does not go on with its products. */
const runVersion = 1;
/** As {@link runVersion}, of runs that match blocks. */
const matchingVersion = 4;

const hashedBytes = 2 ** 26;

/** Tells a model from all others: configuration, headers, and every value. Reads the whole model. */
export function modelHash({ checkpoint }: LlamaModel): string {
  const tensors = [...checkpoint.tensors.values()].map(({ name, shape, dtype, bytes }) => [name, shape, dtype, bytes]);
  const hash = createHash('sha256').update(JSON.stringify([checkpoint.config, tensors]));
  let room = new Float32Array(0);
  const allocate = (rows: number, columns: number): Matrix => {
    if (room.length < rows * columns) room = new Float32Array(rows * columns);
    return matrix(rows, columns, room.subarray(0, rows * columns));
  };
  for (const name of checkpoint.tensors.keys()) {
    const { data } = checkpoint.read(name, allocate);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    // Node hashes less than 2 GiB at a time; the embedding of a large vocabulary has more.
    for (let at = 0; at < bytes.byteLength; at += hashedBytes) hash.update(bytes.subarray(at, at + hashedBytes));
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
  const { sparsity, effort, seed, sequential, blockSteps } = options;
  return {
    version: runVersion,
    model,
    calibration: windows.hash,
    method: plan.method,
    sparsity,
    effort,
    seed,
    sequential,
    ...(blockSteps > 0 && { blockSteps, matchingVersion }),
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
