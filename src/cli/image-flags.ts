import { type Command, Option } from 'commander';
import { z } from 'zod';
import type { ImageSource } from '../calibration/images/image-source.js';
import { hasClassFolders, readLabels } from '../calibration/images/labels.js';
import { openImages, openModelImages } from '../calibration/images/open-images.js';
import { type Preprocessing, preprocessingSchema, readPreprocessing } from '../calibration/images/options.js';
import { DoubleSparseError } from '../errors.js';
import type { OnnxModel } from '../formats/onnx/model.js';
import { addFlags, flagNames, givenFlags, kebab } from './flags.js';
import { say } from './terminal.js';

const ownSchema = z.object({
  arrayLayout: z.enum(['nchw', 'nhwc']).optional().describe('order of dimensions of a .npy array, where it is unclear'),
  batchSize: z
    .int()
    .min(1)
    .max(65_536)
    .optional()
    .describe(
      'images at a time (default: as the model says, else 32, fewer in calibration where inputs of layers are large)',
    ),
});

/** Options of an ONNX model, as {@link addImageFlags} adds them. */
export interface ImageFlags extends z.output<typeof ownSchema> {
  readonly images?: string;
  readonly labels?: string;
  readonly preprocessing?: string;
}

/** Names of all flags of {@link addImageFlags}: none of them means anything for a language model. */
export const imageFlagNames: readonly string[] = [
  ...['images', 'labels', 'preprocessing'],
  ...flagNames(ownSchema),
  ...flagNames(preprocessingSchema),
];

/** Is this model a file of the ONNX format? */
export function isOnnxPath(path: string): boolean {
  return path.toLowerCase().endsWith('.onnx');
}

/**
 * Adds what says which images an ONNX model gets, and what is done to images before.
 * @param purpose what happens on them.
 * @param without names of flags that mean nothing there.
 */
export function addImageFlags(
  command: Command,
  { purpose = 'evaluate', without = [] }: { purpose?: string; without?: readonly string[] } = {},
): void {
  const kept = (schema: z.ZodObject) =>
    z.object(Object.fromEntries(Object.entries(schema.shape).filter(([name]) => !without.includes(name))));
  const group = 'Options of ONNX models:';
  const add = (flags: string, description: string) =>
    command.addOption(new Option(flags, description).helpGroup(group));
  add(
    '--images <path>',
    `images to ${purpose} on: folder of PNG, JPEG and WebP files, .npy array, IDX file (or .gz); a .npy array of other tensors for a model that takes these`,
  );
  add(
    '--labels <file>',
    'their classes: lines name,label, or an IDX or .npy file; none: do not look for any (default: the folders of the images, where every image lies in one; else none)',
  );
  add('--preprocessing <file>', 'JSON object that says what the following flags say; flags win over it');
  addFlags(command, kept(preprocessingSchema), group);
  addFlags(command, kept(ownSchema), group);
}

/**
 * What is done to images: the flags given, and what they leave open from the file of `--preprocessing`.
 * @throws DoubleSparseError those of {@link readPreprocessing}
 */
export function preprocessingOf(command: Command): Preprocessing {
  const flags = command.opts<Record<string, unknown> & ImageFlags>();
  const file = flags.preprocessing === undefined ? {} : readPreprocessing(flags.preprocessing);
  const given = givenFlags(command).filter((name) => name in preprocessingSchema.shape);
  return preprocessingSchema.parse({ ...file, ...Object.fromEntries(given.map((name) => [name, flags[name]])) });
}

/** Images and the numbers of their classes, where these are known. */
export interface TestImages {
  readonly source: ImageSource;
  readonly labels: Int32Array | undefined;
}

/** The images of `--images` and, if asked for, their labels, from `--labels` or else from the folders of the images. */
function openLabelledImages(
  { images, labels, arrayLayout }: ImageFlags & { images: string },
  withLabels: boolean,
  model?: OnnxModel,
): TestImages {
  const source = model ? openModelImages(model, images, arrayLayout) : openImages(images, arrayLayout);
  try {
    return { source, labels: withLabels && labels !== 'none' ? readLabels(source, labels).values : undefined };
  } catch (error) {
    source.close();
    throw error;
  }
}

/**
 * The images of `--images` to evaluate on, with their labels where there are any, by the one rule of all commands: those
 * of `--labels`; else their folders, where every image lies in one of several; else, or with `--labels none`, none. Says
 * which.
 * @throws DoubleSparseError of opening images and labels
 */
export function openTestImages(model: OnnxModel, flags: ImageFlags & { images: string }): TestImages {
  const { labels: given, images } = flags;
  if (given === 'none') say('--labels none: outputs are compared, no accuracy is measured');
  if (given !== undefined) return openLabelledImages(flags, true, model);
  const { source } = openLabelledImages(flags, false, model);
  if (!hasClassFolders(source)) {
    say(`no labels for the images of ${images}: outputs are compared, no accuracy is measured`);
    return { source, labels: undefined };
  }
  const { values, classes = [] } = readLabels(source);
  say(
    `classes of the images of ${images} are their ${classes.length} folders (--labels none: do not measure accuracy)`,
  );
  return { source, labels: values };
}

/**
 * Classes of images to train on: those of a file, else their folders, where every image lies in one of several. Says where
 * there are none.
 * @param teacher is there a model whose outputs can be imitated instead?
 * @throws DoubleSparseError of {@link readLabels}; `not-found` without labels and teacher
 */
export function openTrainingLabels(
  source: ImageSource,
  labels: string | undefined,
  teacher: boolean,
): Int32Array | undefined {
  if (teacher && labels === undefined) {
    if (!hasClassFolders(source)) {
      say('the images have no classes: the teacher alone is imitated');
      return undefined;
    }
    say('the folders of the images are their classes');
  }
  return readLabels(source, labels).values;
}

/**
 * Refuses flags that mean nothing for the model.
 * @param reason end of the sentence "--flag …".
 * @throws DoubleSparseError `option-out-of-range` naming those that were given
 */
export function refuseFlags(command: Command, names: readonly string[], reason: string): void {
  const given = givenFlags(command).filter((name) => names.includes(name));
  if (given.length === 0) return;
  const flags = given.map((name) => `--${kebab(name)}`);
  throw new DoubleSparseError('option-out-of-range', `${flags.join(', ')} ${reason}`, {
    data: { options: given },
    hint: 'leave them away; which options belong to which models tells --help',
  });
}
