import { z } from 'zod';
import { DoubleSparseError } from '../../errors.js';
import { readJsonFile } from '../../formats/json-file.js';

/** Larger sides than any model takes; the square of it bounds the memory of one image. */
const maximumSide = 8192;
const side = z.int().min(1).max(maximumSide);
const perChannel = z.array(z.number()).min(1).max(1024);

/**
 * How images become the input of a model. Flags of the command line are made from these; a JSON file with the same
 * names says the same ({@link readPreprocessing}).
 */
export const preprocessingSchema = z.strictObject({
  resize: z.array(side).min(1).max(2).optional().describe('one number: length of the shorter side; two: height,width'),
  interpolation: z
    .enum(['bilinear', 'bicubic', 'lanczos', 'nearest'])
    .default('bilinear')
    .describe('how pixels are resized; all but nearest average over what they make smaller'),
  crop: z
    .array(side)
    .min(1)
    .max(2)
    .optional()
    .describe('center crop after it; one number: a square; two: height,width'),
  channels: z
    .enum(['rgb', 'bgr', 'gray'])
    .optional()
    .describe('order of the channels (default: rgb of image files, as they are of arrays)'),
  scale: z
    .number()
    .positive()
    .optional()
    .describe('factor of pixel values, before mean and std (default: 1/255 of 8-bit pixels, 1 of floats)'),
  mean: perChannel.optional().describe('subtracted, one a channel or one for all (default: 0)'),
  std: z
    .array(z.number().positive())
    .min(1)
    .max(1024)
    .optional()
    .describe('divides afterwards, one a channel or one for all (default: 1)'),
  layout: z.enum(['nchw', 'nhwc']).default('nchw').describe('order of dimensions of the tensor'),
});
export type Preprocessing = z.output<typeof preprocessingSchema>;

/** Random changes of calibration images; each pass over them draws anew. */
export const augmentationSchema = z.object({
  flip: z.boolean().default(false).describe('mirror every second image, by chance, left to right'),
  shift: z.int().min(0).max(maximumSide).default(0).describe('move by up to so many pixels; black moves in'),
  passes: z.int().min(1).max(1000).default(1).describe('passes over the images, each changed in its own way'),
});
export type Augmentation = z.output<typeof augmentationSchema>;

/**
 * Preprocessing in a JSON file, an object with members of {@link preprocessingSchema}.
 * @throws DoubleSparseError `file-unreadable`, `file-malformed` naming the member
 */
export function readPreprocessing(path: string): Preprocessing {
  const result = preprocessingSchema.safeParse(readJsonFile(path, { bytes: 1e6, depth: 8, values: 1e5 }));
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path: at, message }) =>
    at.length ? `${at.join('.')}: ${message}` : message,
  );
  throw new DoubleSparseError('file-malformed', `${path} is no preprocessing: ${problems.join('; ')}`, {
    data: { path, problems },
    hint: `its members may be ${Object.keys(preprocessingSchema.shape).join(', ')}`,
  });
}
