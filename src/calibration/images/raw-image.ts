import { DoubleSparseError } from '../../errors.js';

/** Pixels before normalisation: rows from the top, the channels of a pixel together (height x width x channels). */
export interface RawImage {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** 8-bit values, or floats of any range. */
  readonly data: Uint8Array | Float32Array;
}

/** An image that still has to be decoded. */
export interface ImageFile {
  readonly file: string;
}

/** Zeros of the same kind as the pixels of `like`. */
function pixels(like: RawImage, length: number): Uint8Array | Float32Array {
  return like.data instanceof Uint8Array ? new Uint8Array(length) : new Float32Array(length);
}

/**
 * The middle of an image. An odd rest is divided as torchvision's CenterCrop does (half to even).
 * @throws DoubleSparseError `option-out-of-range` when the image is smaller
 */
export function cropCenter(image: RawImage, height: number, width: number): RawImage {
  if (image.height === height && image.width === width) return image;
  if (image.height < height || image.width < width) {
    throw new DoubleSparseError(
      'option-out-of-range',
      `an image of ${image.height}x${image.width} is smaller than the crop of ${height}x${width}`,
      {
        data: { height: image.height, width: image.width, crop: [height, width] },
        hint: 'make images larger first with --resize, or take a smaller --crop',
      },
    );
  }
  return window(image, halfToEven(image.height - height), halfToEven(image.width - width), height, width);
}

/** The image moved down and right by so many pixels; zeros where nothing moves in. */
export function shifted(image: RawImage, down: number, right: number): RawImage {
  return window(image, -down, -right, image.height, image.width);
}

/** The image mirrored left to right. */
export function flipped(image: RawImage): RawImage {
  const { height, width, channels, data } = image;
  const result = pixels(image, data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * channels;
      const to = (y * width + width - 1 - x) * channels;
      for (let c = 0; c < channels; c++) result[to + c] = data[from + c] as number;
    }
  }
  return { ...image, data: result };
}

/** A rectangle of height x width from (top, left), which may reach beyond the image: zeros there. */
function window(image: RawImage, top: number, left: number, height: number, width: number): RawImage {
  const { channels, data } = image;
  const result = pixels(image, height * width * channels);
  const [x0, x1] = [Math.max(0, left), Math.min(image.width, left + width)];
  for (let y = 0; y < height; y++) {
    const source = top + y;
    if (source < 0 || source >= image.height || x0 >= x1) continue;
    const from = (source * image.width + x0) * channels;
    result.set(data.subarray(from, from + (x1 - x0) * channels), (y * width + x0 - left) * channels);
  }
  return { height, width, channels, data: result };
}

function halfToEven(difference: number): number {
  const half = Math.floor(difference / 2);
  return difference % 2 === 1 && half % 2 === 1 ? half + 1 : half;
}
