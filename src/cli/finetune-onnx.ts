import { resolve } from 'node:path';
import type { Command } from 'commander';
import { readLabels } from '../calibration/images/labels.js';
import { openImages } from '../calibration/images/open-images.js';
import { DoubleSparseError } from '../errors.js';
import { finetuneOptionsSchema } from '../finetuning/finetune-options.js';
import { finetuneOnnx } from '../finetuning/images/finetune-onnx.js';
import { openOnnx } from '../formats/onnx/reader.js';
import type { FinetuneFlags } from './finetune-language.js';
import { keepOnInterrupt, printFinetuned, progressOf } from './finetune-progress.js';
import { parseOptions } from './flags.js';
import { type ImageFlags, openLabelledImages, preprocessingOf } from './image-flags.js';
import { noticeEngine } from './notices.js';
import { augmentationFlagsSchema } from './run-flags.js';
import { say } from './terminal.js';

/** `dsf finetune` of an ONNX model. */
export async function finetuneOnnxModel(
  path: string,
  flags: FinetuneFlags & ImageFlags & { validationLabels?: string },
  command: Command,
): Promise<void> {
  const { out: file, teacher: teacherPath, validation: validationPath, json = false, images } = flags;
  if (images === undefined) {
    throw new DoubleSparseError('option-out-of-range', 'there are no images to train on', {
      hint: 'give them with --images PATH',
    });
  }
  const out = resolve(file);
  const {
    seqLen: _,
    textField: __,
    bos: ___,
    keepZeros: ____,
    ...options
  } = parseOptions(finetuneOptionsSchema, flags);
  const training = openLabelledImages({ ...flags, images }, flags.labels !== undefined || teacherPath === undefined);
  const source = validationPath === undefined ? undefined : openImages(validationPath, flags.arrayLayout);
  const validation = source && { source, labels: readLabels(source, flags.validationLabels).values };
  const model = openOnnx(path);
  const teacher = teacherPath === undefined ? undefined : openOnnx(teacherPath);
  noticeEngine(options.engine);
  const count = training.source.names.length;
  say(`${count} images: ${((options.steps * options.batch) / count).toFixed(1)} times through them`);
  keepOnInterrupt(out);
  const { flip, shift } = parseOptions(augmentationFlagsSchema, flags);
  const data = { training, validation, preprocessing: preprocessingOf(command), augmentation: { flip, shift } };
  const result = await finetuneOnnx(model, teacher, data, out, options, progressOf('images'));
  for (const each of [training.source, source, model, teacher]) each?.close();
  printFinetuned(out, result, json);
}
