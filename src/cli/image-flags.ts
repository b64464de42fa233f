import { type Command, Option } from 'commander';
import { z } from 'zod';
import type { ImageSource } from '../calibration/images/image-source.js';
import { readLabels } from '../calibration/images/labels.js';
import { openImages } from '../calibration/images/open-images.js';
import { type Preprocessing, preprocessingSchema, readPreprocessing } from '../calibration/images/options.js';
import { DoubleSparseError } from '../errors.js';
import { addFlags, flagNames, givenFlags, kebab } from './flags.js';

const ownSchema = z.object({
  arrayLayout: z.enum(['nchw', 'nhwc']).optional().describe('order of dimensions of a .npy array, where it is unclear'),
  batchSize: z.int().min(1).max(65_536).optional().describe('images at a time (default: as the model says, else 32)'),
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
  add('--images <path>', `images to ${purpose} on: folder of PNG, JPEG and WebP files, .npy array, IDX file (or .gz)`);
  add(
    '--labels <file>',
    'their classes: lines name,label, or an IDX or .npy file (default: the folder of an image is its class)',
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

/** The images of `--images` and, if asked for, their labels, from `--labels` or else from the folders of the images. */
export function openLabelledImages(
  { images, labels, arrayLayout }: ImageFlags & { images: string },
  withLabels: boolean,
): { source: ImageSource; labels: Int32Array | undefined } {
  const source = openImages(images, arrayLayout);
  try {
    return { source, labels: withLabels ? readLabels(source, labels).values : undefined };
  } catch (error) {
    source.close();
    throw error;
  }
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
