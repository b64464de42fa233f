import { createHash } from 'node:crypto';
import { modelHash } from '../compression/run-fingerprint.js';
import type { Fingerprint } from '../compression/run-folder.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import { blasThreadsOf, laneCount } from '../training/training-pool.js';
import type { FinetuneOptions } from './finetune-options.js';
import type { FinetuneTexts } from './finetune-texts.js';
import { storedTensors } from './write-finetuned.js';

/** Version of everything that decides a run's bytes; another one does not go on with its checkpoints. */
const runVersion = 2;

/** Bytes of a tensor in memory at a time. */
const hashedBytes = 2 ** 26;

/** Options that the result depends on. */
export function recordedOptions(
  options: Pick<FinetuneOptions, 'threads' | 'engine' | 'force' | 'saveEvery'>,
): Record<string, unknown> {
  const { threads: _, engine: __, force: ___, saveEvery: ____, ...rest } = options;
  return rest;
}

/** Everything that the bytes of a run depend on. @param threads of all lanes: sums are formed by them. */
export function finetuneFingerprint(
  { checkpoint }: LlamaModel,
  teacher: LlamaModel | undefined,
  { training, validation }: FinetuneTexts,
  options: FinetuneOptions,
  choice: EngineChoice,
  threads: number,
): Fingerprint {
  const size = { threads, examples: options.batch };
  return {
    version: runVersion,
    model: storedHash(checkpoint),
    teacher: teacher ? modelHash(teacher) : null,
    text: training.hash,
    validation: validation?.hash ?? null,
    ...recordedOptions(options),
    engine: choice.name,
    engineDescription: createChosenEngine(choice).description,
    parallelism: [laneCount(size), blasThreadsOf(size)],
  };
}

/**
 * Tells a model from all others byte by byte. {@link modelHash} sees a product A·B, which does not tell its supports.
 * Reads the whole model.
 */
function storedHash(checkpoint: Checkpoint): string {
  const files = storedTensors(checkpoint);
  const products =
    checkpoint instanceof CompressedCheckpoint
      ? [...checkpoint.products.values()].map(({ name, counts, members }) => [name, counts, members])
      : [];
  const tensors = [...files.tensors.values()].map(({ name, shape, dtype }) => [name, shape, dtype]);
  const hash = createHash('sha256').update(JSON.stringify([files.config, products, tensors]));
  for (const { name, bytes } of files.tensors.values()) {
    for (let from = 0; from < bytes; from += hashedBytes)
      hash.update(files.file(name).readBytes(name, from, Math.min(hashedBytes, bytes - from)));
  }
  return hash.digest('hex');
}
