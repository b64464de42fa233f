import { DoubleSparseError } from '../../errors.js';
import { drawDistinct, Random } from '../../linalg/random.js';
import { type Tensor, tensor } from '../tensor.js';
import { augment, checkAugmentation } from './augment.js';
import { decodeImage } from './decode-image.js';
import type { ImageSource } from './image-source.js';
import { normalizeInto, orderChannels } from './normalize.js';
import type { Augmentation, Preprocessing } from './options.js';
import { cropCenter, type RawImage } from './raw-image.js';

/** Images decoded at a time: the decoder has threads of its own, and each may take a hundred megabytes. */
const decodedAtOnce = 4;

export interface ImageBatch {
  /** N x C x H x W or N x H x W x C, as the layout says. */
  readonly images: Tensor;
  /** Of each image in the source. */
  readonly indices: readonly number[];
}

/** What a model's input fixes; a size that it leaves open is undefined. */
export interface ImageSize {
  readonly channels?: number | undefined;
  readonly height?: number | undefined;
  readonly width?: number | undefined;
}

export interface SkippedImage {
  readonly name: string;
  readonly reason: string;
}

export interface ImageBatchOptions {
  preprocessing: Preprocessing;
  /** Images of a batch (default 32); the last one may have fewer. */
  batchSize?: number;
  /** What the model takes (default: whatever the first image has). */
  size?: ImageSize;
  /** Default: none, one pass. */
  augmentation?: Augmentation;
  /** Of the augmentation (default 0). */
  seed?: number;
  /** Called once for each image that cannot be read, in order. */
  onSkip?: (image: SkippedImage) => void;
}

/**
 * Numbers of `count` images of a source drawn at random, ascending; all where there are no more.
 * @param count undefined: all.
 */
export function selectImages(source: ImageSource, count: number | undefined, seed: number): number[] {
  const all = source.names.length;
  if (count === undefined || count >= all) return Array.from({ length: all }, (_, index) => index);
  return drawDistinct(all, count, new Random(seed)).sort((a, b) => a - b);
}

/**
 * Images as batches for a model: those of {@link preparedImages}, normalised.
 * @param indices of the images, see {@link selectImages}.
 * @throws DoubleSparseError of {@link preparedImages} and {@link batchOf}
 */
export async function* imageBatches(
  source: ImageSource,
  indices: readonly number[],
  options: ImageBatchOptions,
): AsyncGenerator<ImageBatch> {
  const { batchSize = 32, preprocessing } = options;
  for await (const batch of inBatches(preparedImages(source, indices, options), batchSize))
    yield batchOf(batch, preprocessing, source.tensor);
}

/** Images in lists of `size`; the last one of each pass may have fewer. */
export async function* inBatches(images: AsyncIterable<PreparedImage>, size: number): AsyncGenerator<PreparedImage[]> {
  let batch: PreparedImage[] = [];
  for await (const prepared of images) {
    if (batch.length === size || (batch[0] && batch[0].pass !== prepared.pass)) {
      yield batch;
      batch = [];
    }
    batch.push(prepared);
  }
  if (batch.length > 0) yield batch;
}

/** An image with the pixels that a model gets, before normalisation. */
export interface PreparedImage {
  /** In the source. */
  readonly index: number;
  readonly pass: number;
  readonly image: RawImage;
}

/**
 * Images decoded and resized, cropped, changed at random if asked, channels ordered; pass after pass. Images that cannot
 * be decoded are skipped.
 * @throws DoubleSparseError `option-out-of-range` when an image does not have the size that the model or the first image
 *   has, `file-unreadable` when none could be decoded, and those of the steps
 */
export async function* preparedImages(
  source: ImageSource,
  indices: readonly number[],
  options: Omit<ImageBatchOptions, 'batchSize'>,
): AsyncGenerator<PreparedImage> {
  const { augmentation, preprocessing } = options;
  if (augmentation) checkAugmentation(augmentation);
  if (source.tensor) checkTensorOptions(source, options);
  const skipped = new Map<number, SkippedImage>();
  let size = options.size ?? {};
  for (let pass = 0; pass < (augmentation?.passes ?? 1); pass++) {
    for (let from = 0; from < indices.length; from += decodedAtOnce) {
      const wanted = indices.slice(from, from + decodedAtOnce).filter((index) => !skipped.has(index));
      for (const { index, decoded, reason } of await Promise.all(
        wanted.map((each) => decode(source, each, preprocessing)),
      )) {
        if (decoded === undefined) {
          const name = source.names[index] as string;
          skipped.set(index, { name, reason });
          options.onSkip?.({ name, reason });
          continue;
        }
        const image = named(source, index, () => prepare(source, index, decoded, pass, options));
        checkSize(source, index, image, size, options);
        size = image;
        yield { index, pass, image };
      }
    }
  }
  if (skipped.size === indices.length) throw noneLeft(source, [...skipped.values()]);
}

/** Of what is done to images, only scale, mean and deviation mean something for other tensors. */
function checkTensorOptions(
  { path }: ImageSource,
  { preprocessing: { resize, crop, channels, layout }, augmentation }: Omit<ImageBatchOptions, 'batchSize'>,
): void {
  const given = Object.entries({
    resize,
    crop,
    channels,
    layout: layout === 'nchw' ? undefined : layout,
    flip: augmentation?.flip || undefined,
    shift: augmentation?.shift || undefined,
  }).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`]));
  if (given.length === 0) return;
  throw new DoubleSparseError('option-out-of-range', `${path}: ${given.join(', ')}: its entries are no images`, {
    data: { path, options: given },
    hint: 'the model does not take images: the array is taken as it is, but for --scale, --mean and --std',
  });
}

type Decoded =
  | { index: number; decoded: RawImage; reason?: never }
  | { index: number; decoded?: never; reason: string };

async function decode(source: ImageSource, index: number, preprocessing: Preprocessing): Promise<Decoded> {
  const encoded = source.read(index);
  try {
    return { index, decoded: await decodeImage(encoded, preprocessing) };
  } catch (error) {
    if (error instanceof DoubleSparseError) throw error;
    return { index, reason: error instanceof Error ? (error.message.split('\n')[0] as string) : String(error) };
  }
}

function prepare(
  source: ImageSource,
  index: number,
  decoded: RawImage,
  pass: number,
  { preprocessing, augmentation, seed = 0 }: Omit<ImageBatchOptions, 'batchSize'>,
): RawImage {
  const { crop, channels } = preprocessing;
  const [height = decoded.height, width = crop ? height : decoded.width] = crop ?? [];
  const cropped = cropCenter(decoded, height, width);
  const changed = augmentation ? augment(cropped, augmentation, seed, pass, index) : cropped;
  // Image files differ among themselves; most models take RGB.
  return orderChannels(changed, channels ?? (source.channels === undefined ? 'rgb' : undefined));
}

/** Adds the image's name to what goes wrong with it. */
function named<T>(source: ImageSource, index: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof DoubleSparseError)) throw error;
    const { code, message, data, hint } = error;
    const name = source.names[index] as string;
    throw new DoubleSparseError(code, `${source.path}: ${name}: ${message}`, {
      data: { ...data, path: source.path, name },
      ...(hint !== undefined && { hint }),
    });
  }
}

/**
 * A batch of images of one size.
 * @param tensorDims see {@link ImageSource.tensor}.
 * @throws DoubleSparseError `option-out-of-range` for means or deviations of another number of channels
 */
export function batchOf(
  batch: readonly Pick<PreparedImage, 'index' | 'image'>[],
  preprocessing: Preprocessing,
  tensorDims?: readonly number[],
): ImageBatch {
  const { height, width, channels } = (batch[0] as PreparedImage).image;
  const length = height * width * channels;
  const data = new Float32Array(batch.length * length);
  for (const [i, { image }] of batch.entries())
    normalizeInto(image, preprocessing, data.subarray(i * length, (i + 1) * length));
  const imageDims = preprocessing.layout === 'nchw' ? [channels, height, width] : [height, width, channels];
  const dims = tensorDims ?? imageDims;
  return { images: tensor([batch.length, ...dims], data), indices: batch.map(({ index }) => index) };
}

function checkSize(
  source: ImageSource,
  index: number,
  image: RawImage,
  size: ImageSize,
  { size: ofModel, preprocessing }: Omit<ImageBatchOptions, 'batchSize'>,
): void {
  const wrong = (key: keyof ImageSize): boolean => size[key] !== undefined && size[key] !== image[key];
  if (!wrong('height') && !wrong('width') && !wrong('channels')) return;
  const show = ({ height, width, channels }: ImageSize): string =>
    `${height ?? 'any'}x${width ?? 'any'} with ${channels ?? 'any'} channels`;
  const who = (ofModel?.height ?? ofModel?.width ?? ofModel?.channels) ? 'the model takes' : 'the first image has';
  const name = source.names[index] as string;
  throw new DoubleSparseError(
    'option-out-of-range',
    `${source.path}: ${name} has ${show(image)} after preprocessing, ${who} ${show(size)}`,
    {
      data: { path: source.path, name, height: image.height, width: image.width, channels: image.channels },
      hint: wrong('channels') ? channelsHint(size) : sizeHint(size, preprocessing),
    },
  );
}

function channelsHint({ channels }: ImageSize): string {
  if (channels === 1) return 'use --channels gray';
  return channels === 3 ? 'use --channels rgb or bgr' : 'images with other channels can be given as a .npy array';
}

function sizeHint({ height, width }: ImageSize, { crop }: Preprocessing): string {
  if (height === undefined || width === undefined) return 'make all images equal with --resize, or --resize and --crop';
  const flag = height === width ? `${height}` : `${height},${width}`;
  if (crop) return `use --crop ${flag}`;
  return `use --resize ${height},${width}, or --resize of the shorter side and --crop ${flag}`;
}

function noneLeft({ path }: ImageSource, skipped: readonly SkippedImage[]): DoubleSparseError {
  const [first] = skipped;
  const because = first ? `; the first, ${first.name}: ${first.reason}` : '';
  return new DoubleSparseError(
    'file-unreadable',
    `none of ${skipped.length} images of ${path} could be read${because}`,
    {
      data: { path, count: skipped.length, names: skipped.slice(0, 100).map(({ name }) => name) },
      hint: 'give PNG, JPEG or WebP files, a .npy array, or an IDX file',
    },
  );
}
