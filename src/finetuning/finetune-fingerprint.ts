import { createHash } from 'node:crypto';
import type { Fingerprint } from '../compression/run-folder.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import type { Trainee } from './collect-parameters.js';
import type { FinetuneOptions } from './finetune-options.js';
import type { FinetuneTexts } from './finetune-texts.js';
import type { TeacherModel } from './language-model.js';

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
  { values, model }: Trainee,
  teacher: TeacherModel | undefined,
  { training, validation }: FinetuneTexts,
  options: FinetuneOptions,
  choice: EngineChoice,
  lanes: number,
): Fingerprint {
  const tensors = [...checkpoint.tensors.values()].map(({ name, shape, dtype, bytes }) => [name, shape, dtype, bytes]);
  return {
    version: runVersion,
    model: hash(JSON.stringify([checkpoint.config, tensors]), values, model.embedding.value.data),
    teacher: teacher ? hash(JSON.stringify(teacher.config), ...teacherValues(teacher)) : null,
    text: training.hash,
    validation: validation?.hash ?? null,
    ...recordedOptions(options),
    engine: choice.name,
    engineDescription: createChosenEngine(choice).description,
    lanes,
  };
}

function teacherValues({ embedding, blocks, head }: TeacherModel): Float32Array[] {
  const linear = blocks.flatMap((block) => Object.values(block.linear).map(({ weight }) => weight.data));
  return [embedding.data, head.norm.data, head.projection.data, ...linear];
}

function hash(text: string, ...arrays: readonly Float32Array[]): string {
  const state = createHash('sha256').update(text);
  for (const { buffer, byteOffset, byteLength } of arrays) state.update(new Uint8Array(buffer, byteOffset, byteLength));
  return state.digest('hex');
}
