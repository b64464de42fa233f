import { createHash } from 'node:crypto';
import type { Fingerprint } from '../../compression/run-folder.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { serializeOnnx } from '../../formats/onnx/writer.js';
import { createChosenEngine, type EngineChoice } from '../../linalg/engines/select.js';
import { recordedOptions } from '../finetune-fingerprint.js';
import type { FinetuneImages, LabelledImages } from './image-data.js';
import type { ImageFinetuneOptions } from './image-finetune-options.js';

/** Version of everything that decides a run's bytes; another one does not go on with its checkpoints. */
const runVersion = 1;

/** Everything that the bytes of a run depend on. Images are known by their number, names and labels. */
export function imageFingerprint(
  model: OnnxModel,
  teacher: OnnxModel | undefined,
  { training, validation, preprocessing, augmentation }: FinetuneImages,
  options: ImageFinetuneOptions,
  choice: EngineChoice,
  lanes: number,
): Fingerprint {
  return {
    version: runVersion,
    model: hash(serializeOnnx(model)),
    teacher: teacher ? hash(serializeOnnx(teacher)) : null,
    images: imagesHash(training),
    validation: validation ? imagesHash(validation) : null,
    preprocessing,
    augmentation,
    ...recordedOptions(options),
    engine: choice.name,
    engineDescription: createChosenEngine(choice).description,
    lanes,
  };
}

function imagesHash({ source, labels }: LabelledImages): string {
  return hash(JSON.stringify([source.names, labels ? Array.from(labels) : null]));
}

function hash(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
