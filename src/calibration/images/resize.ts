import type { Preprocessing } from './options.js';
import type { RawImage } from './raw-image.js';

type Interpolation = Preprocessing['interpolation'];

interface Filter {
  /** Half the width in which it is not zero, in pixels of the smaller image. */
  readonly support: number;
  readonly weight: (distance: number) => number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const filters: Readonly<Record<Exclude<Interpolation, 'nearest'>, Filter>> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  // Keys' cubic convolution with a = -1/2.
  bicubic: {
    support: 2,
    weight(distance) {
      const x = Math.abs(distance);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/**
 * An image in another size: first the rows, then the columns, each through a filter that is stretched over all the pixels
 * that become one (antialiasing), as Pillow and torchvision do on images; pixel centres at one half, edges by
 * renormalised weights. 8-bit images are rounded after each pass. `nearest` takes single pixels.
 */
export function resizeImage(image: RawImage, height: number, width: number, interpolation: Interpolation): RawImage {
  const { channels } = image;
  const wide =
    width === image.width
      ? image
      : { ...image, width, data: pass(image.data, image.height, image.width, width, channels, interpolation) };
  if (height === image.height) return wide;
  // Whole rows take the place of pixels.
  return { ...wide, height, data: pass(wide.data, 1, image.height, height, width * channels, interpolation) };
}

/**
 * Resamples the middle dimension of outer x length x inner values.
 */
function pass(
  data: RawImage['data'],
  outer: number,
  length: number,
  newLength: number,
  inner: number,
  interpolation: Interpolation,
): RawImage['data'] {
  const isBytes = data instanceof Uint8Array;
  // Clamped arrays round and clip as they store.
  const result = isBytes
    ? new Uint8ClampedArray(outer * newLength * inner)
    : new Float32Array(outer * newLength * inner);
  const sums = new Float64Array(inner);
  for (let to = 0; to < newLength; to++) {
    const { first, weights } = taps(to, length, newLength, interpolation);
    for (let o = 0; o < outer; o++) {
      sums.fill(0);
      for (let tap = 0; tap < weights.length; tap++) {
        const weight = weights[tap] as number;
        const from = (o * length + first + tap) * inner;
        for (let i = 0; i < inner; i++) sums[i] = (sums[i] as number) + weight * (data[from + i] as number);
      }
      result.set(sums, (o * newLength + to) * inner);
    }
  }
  return result instanceof Uint8ClampedArray ? new Uint8Array(result.buffer) : result;
}

/** The pixels that make pixel `to`: consecutive from `first` on, with weights that sum to one. */
function taps(to: number, length: number, newLength: number, interpolation: Interpolation) {
  const scale = length / newLength;
  const centre = (to + 0.5) * scale;
  if (interpolation === 'nearest') return { first: Math.min(length - 1, Math.floor(centre)), weights: [1] };
  const { support, weight } = filters[interpolation];
  const stretch = Math.max(1, scale);
  const first = Math.max(0, Math.floor(centre - support * stretch + 0.5));
  const end = Math.min(length, Math.floor(centre + support * stretch + 0.5));
  const weights = Array.from({ length: end - first }, (_, i) => weight((first + i + 0.5 - centre) / stretch));
  const total = weights.reduce((sum, value) => sum + value, 0);
  return { first, weights: weights.map((value) => value / total) };
}
