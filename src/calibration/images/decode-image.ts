import { DoubleSparseError } from '../../errors.js';
import type { Preprocessing } from './options.js';
import type { ImageFile, RawImage } from './raw-image.js';
import { resizeImage } from './resize.js';

/** 32 Mi pixels are 100 MB decoded; the images of the usual data sets have under one. */
const maximumPixels = 1 << 25;
const formats = ['png', 'jpeg', 'webp'];

/**
 * The pixels of an image in the size that `resize` asks for. Files become RGB, or gray where they are gray;
 * transparency is dropped and the orientation in the file's metadata ignored, as Pillow's convert does.
 * @throws an Error of the decoder when a file is damaged, or not PNG, JPEG or WebP
 * @throws DoubleSparseError `engine-unavailable` without sharp
 */
export async function decodeImage(
  image: ImageFile | RawImage,
  { resize, interpolation }: Pick<Preprocessing, 'resize' | 'interpolation'>,
): Promise<RawImage> {
  const decoded = 'file' in image ? await decodeFile(image.file) : image;
  if (resize === undefined) return decoded;
  const { height, width } = resizedSize(decoded, resize);
  return resizeImage(decoded, height, width, interpolation);
}

async function decodeFile(path: string): Promise<RawImage> {
  const sharp = await loadSharp();
  const image = sharp(path, { limitInputPixels: maximumPixels, failOn: 'error', sequentialRead: true });
  const { format, channels } = await image.metadata();
  // The decoder goes by content, and knows formats that refer to other files.
  if (!formats.includes(format)) throw new Error(`its content is ${format}, not PNG, JPEG or WebP`);
  const { data, info } = await image
    .removeAlpha()
    .toColourspace(channels < 3 ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const { height, width } = info;
  return {
    height,
    width,
    channels: info.channels,
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}

/** As torchvision's Resize: one number is the shorter side, the other follows, rounded down. */
function resizedSize({ height, width }: RawImage, resize: readonly number[]): { height: number; width: number } {
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
