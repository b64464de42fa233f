import { existsSync } from 'node:fs';
import { hashLabelledImages } from '../calibration/images/hash-images.js';
import type { SkippedImage } from '../calibration/images/image-batches.js';
import { recordedOptions } from '../finetuning/finetune-fingerprint.js';
import { finetuneOnnx } from '../finetuning/images/finetune-onnx.js';
import { imageFinetuneOptionsSchema } from '../finetuning/images/image-finetune-options.js';
import type { OnnxModel } from '../formats/onnx/model.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import type { CnnCompareOptions, CnnTrainingImages } from './onnx-comparison.js';
import type { Trainer } from './tuned-models.js';
import { tuningSettings } from './tuning-options.js';

/** Images that one thread has in memory at a time, at most: products of fewer rows are slower. */
const microBatch = 32;

/**
 * Fine-tunes ONNX models on the calibration images, all of them, changed at random as in calibration.
 * @param dense the teacher: where one is asked for, or where the images have no classes.
 * @param onSkip called once for each image that cannot be decoded.
 */
export function onnxTrainer(
  dense: OnnxModel,
  { source, labels, preprocessing }: CnnTrainingImages,
  options: CnnCompareOptions,
  choice: EngineChoice,
  onSkip: (image: SkippedImage) => void,
): Trainer<OnnxModel> {
  const { flip, shift } = options;
  const settings = imageFinetuneOptionsSchema.parse({ ...tuningSettings(options, choice), microBatch });
  const teacher = settings.teacherWeight > 0 || !labels ? dense : undefined;
  const augmentation = { flip, shift };
  const skipped = new Set<string>();
  const images = {
    training: { source, labels },
    preprocessing,
    augmentation,
    onSkip: (image: SkippedImage) => {
      if (skipped.has(image.name)) return;
      skipped.add(image.name);
      onSkip(image);
    },
  };
  return {
    fingerprint: { images: hashLabelledImages(source, labels), augmentation, ...recordedOptions(settings) },
    pathOf: (place) => `${place}.onnx`,
    isWritten: existsSync,
    train: (model, path, onEvent) => finetuneOnnx(model, teacher, images, path, settings, onEvent),
  };
}
