import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { LoadedWindows } from '../calibration/load-windows.js';
import { finetune } from '../finetuning/finetune.js';
import { recordedOptions } from '../finetuning/finetune-fingerprint.js';
import { finetuneOptionsSchema } from '../finetuning/finetune-options.js';
import { storedTensors } from '../finetuning/write-finetuned.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import type { CompareOptions } from './comparison.js';
import type { Trainer } from './tuned-models.js';
import { tuningSettings } from './tuning-options.js';

/**
 * Fine-tunes language models.
 * @param dense the teacher, where one is asked for.
 * @throws DoubleSparseError `file-unsupported` when the dense model cannot be trained
 */
export function languageTrainer(
  dense: LlamaModel,
  training: LoadedWindows,
  options: CompareOptions,
  choice: EngineChoice,
): Trainer<LlamaModel> {
  storedTensors(dense.checkpoint);
  const { bos, textField } = options;
  const { seqLen } = training;
  const settings = finetuneOptionsSchema.parse({ ...tuningSettings(options, choice), bos, textField, seqLen });
  const teacher = settings.teacherWeight > 0 ? dense : undefined;
  return {
    fingerprint: { text: training.hash, ...recordedOptions(settings) },
    pathOf: (place) => place,
    isWritten: (path) => existsSync(join(path, 'config.json')),
    train: (model, path, onEvent) => finetune(model, teacher, { training }, path, settings, onEvent),
  };
}
