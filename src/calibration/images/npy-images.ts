import { DoubleSparseError } from '../../errors.js';
import { decodeFloats } from '../../formats/dtype.js';
import { type ImageSource, numberNames } from './image-source.js';
import { NpyFile } from './npy-file.js';
import type { RawImage } from './raw-image.js';

/** Order of dimensions in an array of images. */
export type ArrayLayout = 'nchw' | 'nhwc';

/** As many values as the largest image file that is decoded. */
const maximumImageValues = 3 * 2 ** 25;
const floatTypes = { '<f2': 'F16', '<f4': 'F32', '<f8': 'F64' } as const;
const isFloat = (type: string): type is keyof typeof floatTypes => type in floatTypes;

/**
 * The images of a .npy array: N x H x W (gray), N x C x H x W or N x H x W x C, of 8-bit values or floats.
 * @param layout default: the dimension of 1 or 3 is that of the channels.
 * @throws DoubleSparseError of {@link NpyFile}; `file-unsupported` for another shape or type; `option-out-of-range` when
 *   it takes the layout to know the channels
 */
export function openNpyImages(path: string, layout?: ArrayLayout): ImageSource {
  const file = new NpyFile(path);
  try {
    return entriesOf(file, imageShape(file, layout));
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * The entries of a .npy array as tensors of its shape, for models that take no images: N x C x L, N x D and the like.
 * @throws DoubleSparseError of {@link NpyFile}; `file-unsupported` for an array of one dimension or another type
 */
export function openNpyTensors(path: string): ImageSource {
  const file = new NpyFile(path);
  try {
    const [, channels, ...sizes] = file.shape;
    if (channels === undefined) {
      throw new DoubleSparseError('file-unsupported', `${path} has one dimension [${file.shape}]`, {
        data: { path, shape: file.shape },
        hint: 'the first dimension counts the entries, the others are those of the input of the model',
      });
    }
    const width = sizes.reduce((product, size) => product * size, 1);
    const shape = { height: 1, width, channels, planar: channels > 1 && width > 1 };
    return { ...entriesOf(file, shape), tensor: [channels, ...sizes] };
  } catch (error) {
    file.close();
    throw error;
  }
}

function entriesOf(file: NpyFile, { height, width, channels, planar }: ImageShape): ImageSource {
  const { path, shape, type } = file;
  const values = height * width * channels;
  if (shape[0] === 0 || values === 0 || values > maximumImageValues || (type !== '|u1' && !isFloat(type))) {
    throw new DoubleSparseError('file-unsupported', `${path}: [${shape}] of ${type} are no images`, {
      data: { path, shape, type, limit: maximumImageValues },
      hint: `8-bit values or floats are read, up to ${maximumImageValues} of an image`,
    });
  }
  return {
    path,
    names: numberNames(shape[0] as number),
    channels,
    read(index) {
      const bytes = file.read(index, 1);
      const data = isFloat(type) ? decodeFloats(floatTypes[type], bytes) : bytes;
      return { height, width, channels, data: planar ? interleaved(data, channels) : data };
    },
    close: () => file.close(),
  };
}

type ImageShape = Omit<RawImage, 'data'> & { readonly planar: boolean };

function imageShape({ path, shape }: NpyFile, layout: ArrayLayout | undefined): ImageShape {
  const [, a, b, c] = shape as [number, number, number, number];
  if (shape.length === 3) return { height: a, width: b, channels: 1, planar: false };
  if (shape.length !== 4) {
    throw new DoubleSparseError('file-unsupported', `${path} has ${shape.length} dimensions [${shape}]`, {
      data: { path, shape },
      hint: 'images are N x H x W, N x C x H x W or N x H x W x C',
    });
  }
  const isCount = (size: number): boolean => size === 1 || size === 3;
  if (layout === undefined && isCount(a) === isCount(c)) {
    throw new DoubleSparseError('option-out-of-range', `${path}: which dimension of [${shape}] are the channels?`, {
      data: { path, shape },
      hint: 'say --array-layout nchw or nhwc',
    });
  }
  const planar = (layout ?? (isCount(a) ? 'nchw' : 'nhwc')) === 'nchw';
  return planar
    ? { height: b, width: c, channels: a, planar: a > 1 }
    : { height: a, width: b, channels: c, planar: false };
}

/** Planes of channels to pixels with their channels together. */
function interleaved<T extends Uint8Array | Float32Array>(planes: T, channels: number): T {
  const result = planes.slice() as T;
  const count = planes.length / channels;
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < count; i++) result[i * channels + c] = planes[c * count + i] as number;
  return result;
}
