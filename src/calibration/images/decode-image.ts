import { DoubleSparseError } from '../../errors.js';
import type { Preprocessing } from './options.js';
import type { ImageFile, RawImage } from './raw-image.js';

/** 32 Mi pixels are 100 MB decoded; the images of the usual data sets have under one. */
const maximumPixels = 1 << 25;
const formats = ['png', 'jpeg', 'webp'];

const kernels = { bilinear: 'linear', bicubic: 'cubic', lanczos: 'lanczos3', nearest: 'nearest' } as const;

/**
 * The pixels of an image in the size that `resize` asks for. Files become RGB, or gray where they are gray;
 * transparency is dropped and the orientation in the file's metadata ignored, as Pillow's convert does.
 * @throws an Error of the decoder when a file is damaged, or not PNG, JPEG or WebP
 * @throws DoubleSparseError `engine-unavailable` without sharp, `option-out-of-range` when floats would be resized
 */
export async function decodeImage(image: ImageFile | RawImage, preprocessing: Preprocessing): Promise<RawImage> {
  const { resize, interpolation } = preprocessing;
  if ('file' in image) return decodeFile(image.file, resize, interpolation);
  if (resize === undefined) return image;
  const { height, width, channels, data } = image;
  const size = resizedSize(height, width, resize);
  if (size.height === height && size.width === width) return image;
  if (!(data instanceof Uint8Array) || (channels !== 1 && channels !== 3)) {
    const kind = data instanceof Uint8Array ? '8-bit' : 'float';
    throw new DoubleSparseError(
      'option-out-of-range',
      `arrays of ${channels}-channel ${kind} pixels cannot be resized from ${height}x${width} to ${size.height}x${size.width}`,
      {
        data: { option: 'resize', channels, height, width },
        hint: 'leave --resize away and write the array in the size of the model; 8-bit gray and RGB can be resized',
      },
    );
  }
  const sharp = await loadSharp();
  return resized(sharp(data, { raw: { height, width, channels } }), channels, size, interpolation);
}

async function decodeFile(
  path: string,
  resize: readonly number[] | undefined,
  interpolation: Preprocessing['interpolation'],
): Promise<RawImage> {
  const sharp = await loadSharp();
  const image = sharp(path, { limitInputPixels: maximumPixels, failOn: 'error', sequentialRead: true });
  const { format, height, width, channels } = await image.metadata();
  // The decoder goes by content, and knows formats that run programs of their own.
  if (!formats.includes(format)) throw new Error(`its content is ${format}, not PNG, JPEG or WebP`);
  const size = resizedSize(height, width, resize ?? [height, width]);
  const gray = channels < 3;
  return resized(image.removeAlpha().toColourspace(gray ? 'b-w' : 'srgb'), gray ? 1 : 3, size, interpolation);
}

async function resized(
  image: import('sharp').Sharp,
  channels: number,
  { height, width }: { height: number; width: number },
  interpolation: Preprocessing['interpolation'],
): Promise<RawImage> {
  const { data, info } = await image
    .resize({ height, width, fit: 'fill', kernel: kernels[interpolation], fastShrinkOnLoad: false })
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== channels || info.height !== height || info.width !== width)
    throw new Error(`decoded to ${info.height}x${info.width}x${info.channels}, not ${height}x${width}x${channels}`);
  return { height, width, channels, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** As torchvision's Resize: one number is the shorter side, the other follows, rounded down. */
function resizedSize(height: number, width: number, resize: readonly number[]): { height: number; width: number } {
  const [first, second] = resize as [number, number | undefined];
  if (second !== undefined) return { height: first, width: second };
  const other = Math.floor((first * Math.max(height, width)) / Math.min(height, width));
  return height <= width ? { height: first, width: other } : { height: other, width: first };
}

async function loadSharp(): Promise<typeof import('sharp').default> {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    throw new DoubleSparseError(
      'engine-unavailable',
      `the image library sharp could not be loaded (${String(cause).split('\n')[0]})`,
      {
        data: { platform: process.platform, architecture: process.arch },
        hint: 'npm install sharp, if it has binaries for this platform, or give images as a .npy or IDX file',
        cause,
      },
    );
  }
}
