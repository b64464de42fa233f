import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { SkippedImage } from '../calibration/images/image-batches.js';
import { readLabels } from '../calibration/images/labels.js';
import { openImages } from '../calibration/images/open-images.js';
import { DoubleSparseError } from '../errors.js';
import { finetuneOnnx } from '../finetuning/images/finetune-onnx.js';
import type { LabelledImages } from '../finetuning/images/image-data.js';
import { imageFinetuneOptionsSchema } from '../finetuning/images/image-finetune-options.js';
import { openOnnx } from '../formats/onnx/reader.js';
import type { FinetuneFlags } from './finetune-language.js';
import { keepOnInterrupt, printFinetuned, progressOf } from './finetune-progress.js';
import { givenFlags, parseOptions } from './flags.js';
import { type ImageFlags, openTrainingLabels, preprocessingOf } from './image-flags.js';
import { noticeEngine } from './notices.js';
import { augmentationFlagsSchema } from './run-flags.js';
import { say } from './terminal.js';

/** Images that cannot be decoded and are named at once; the rest is counted. */
const namedSkips = 10;

type OnnxFinetuneFlags = FinetuneFlags & ImageFlags & { validationLabels?: string; validationWindows?: number };

/** `dsf finetune` of an ONNX model. */
export async function finetuneOnnxModel(path: string, flags: OnnxFinetuneFlags, command: Command): Promise<void> {
  const { out: file, teacher: teacherPath, validation: validationPath, json = false } = flags;
  const out = resolve(file);
  // The default of the flag is that of text.
  const given = new Set(givenFlags(command));
  const validationWindows = given.has('validationWindows') ? flags.validationWindows : undefined;
  const options = parseOptions(imageFinetuneOptionsSchema, { ...flags, validationWindows });
  const training = openTraining(flags);
  if (given.has('teacherWeight')) checkTeacherWeight(options.teacherWeight, training);
  const source = validationPath === undefined ? undefined : openImages(validationPath, flags.arrayLayout);
  const validation = source && { source, labels: readLabels(source, flags.validationLabels).values };
  const model = openOnnx(path);
  const teacher = teacherPath === undefined ? undefined : openOnnx(teacherPath);
  noticeEngine(options.engine);
  const count = training.source.names.length;
  say(`${count} images: ${((options.steps * options.batch) / count).toFixed(1)} times through them`);
  keepOnInterrupt(out);
  const { flip, shift } = parseOptions(augmentationFlagsSchema, flags);
  const skipped: SkippedImage[] = [];
  const onSkip = (image: SkippedImage): void => {
    skipped.push(image);
    if (skipped.length <= namedSkips) say(`${image.name} could not be read and is left out: ${image.reason}`);
  };
  const data = { training, validation, preprocessing: preprocessingOf(command), augmentation: { flip, shift }, onSkip };
  const result = await finetuneOnnx(model, teacher, data, out, options, progressOf('images'));
  for (const each of [training.source, source, model, teacher]) each?.close();
  if (skipped.length > 0) say(`${skipped.length} images could not be read and were left out`);
  const report = { ...result, skipped };
  printFinetuned(out, report, json);
}

/** The images of `--images` with classes, which may be absent with a teacher alone. */
function openTraining({ images, labels, teacher, arrayLayout }: OnnxFinetuneFlags): LabelledImages {
  if (images === undefined) {
    throw new DoubleSparseError('option-out-of-range', 'there are no images to train on', {
      hint: 'give them with --images PATH',
    });
  }
  const source = openImages(images, arrayLayout);
  return { source, labels: openTrainingLabels(source, labels, teacher !== undefined) };
}

/** @throws DoubleSparseError `option-out-of-range` for a weight that would not count */
function checkTeacherWeight(weight: number, { labels }: LabelledImages): void {
  if (labels || weight === 1) return;
  throw new DoubleSparseError('option-out-of-range', `--teacher-weight ${weight} of images without classes`, {
    data: { option: 'teacherWeight', value: weight },
    hint: 'give --labels, or leave --teacher-weight away: the teacher is all there is',
  });
}
