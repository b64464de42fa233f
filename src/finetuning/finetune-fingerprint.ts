import { createHash } from 'node:crypto';
import type { Fingerprint } from '../compression/run-folder.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import type { Trainee } from './collect-parameters.js';
import type { FinetuneOptions } from './finetune-options.js';
import type { FinetuneTexts } from './training-run.js';

/** Version of everything that decides a run's bytes; another one does not go on with its checkpoints. */
const runVersion = 1;

/** Options that the result depends on. */
export function recordedOptions(options: FinetuneOptions): Record<string, unknown> {
  const { threads: _, engine: __, force: ___, saveEvery: ____, ...rest } = options;
  return rest;
}

/** Everything that the bytes of a run depend on. @param lanes sums are formed by them. */
export function finetuneFingerprint(
  { checkpoint }: LlamaModel,
  { values }: Trainee,
  teacher: LlamaModel | undefined,
  { training, validation }: FinetuneTexts,
  options: FinetuneOptions,
  choice: EngineChoice,
  lanes: number,
): Fingerprint {
  const hash = (...parts: (string | Uint8Array)[]): string =>
    parts.reduce((state, part) => state.update(part), createHash('sha256')).digest('hex');
  const headers = ({ config, tensors }: LlamaModel['checkpoint']): string =>
    JSON.stringify([config, [...tensors.values()]]);
  return {
    version: runVersion,
    model: hash(headers(checkpoint), new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
    teacher: teacher ? hash(headers(teacher.checkpoint)) : null,
    text: training.hash,
    validation: validation?.hash ?? null,
    ...recordedOptions(options),
    engine: createChosenEngine(choice).description,
    lanes,
  };
}
