import { DoubleSparseError } from '../../errors.js';
import type { Preprocessing } from './options.js';
import type { RawImage } from './raw-image.js';

/**
 * The channels that a model gets: gray is Pillow's luma, (19595 R + 38470 G + 7471 B) / 2^16; gray images become RGB by
 * repetition.
 * @throws DoubleSparseError `option-out-of-range` when an array's channels are neither gray nor RGB
 */
export function orderChannels(image: RawImage, order: Preprocessing['channels']): RawImage {
  const { channels, data, height, width } = image;
  if (order === undefined || (order === 'gray' && channels === 1) || (order === 'rgb' && channels === 3)) return image;
  if (channels !== 1 && channels !== 3) {
    throw new DoubleSparseError('option-out-of-range', `images of ${channels} channels cannot become ${order}`, {
      data: { option: 'channels', value: order, channels },
      hint: 'leave --channels away: the array is then taken as it is',
    });
  }
  const count = height * width;
  const target = order === 'gray' ? 1 : 3;
  const isBytes = data instanceof Uint8Array;
  const result = isBytes ? new Uint8Array(count * target) : new Float32Array(count * target);
  for (let i = 0; i < count; i++) {
    if (channels === 1) result.fill(data[i] as number, i * target, (i + 1) * target);
    else {
      const [red, green, blue] = [data[i * 3] as number, data[i * 3 + 1] as number, data[i * 3 + 2] as number];
      const luma = 19595 * red + 38470 * green + 7471 * blue;
      if (order === 'gray') result[i] = isBytes ? (luma + 0x8000) >> 16 : luma / 65536;
      else {
        result[i * 3] = blue;
        result[i * 3 + 1] = green;
        result[i * 3 + 2] = red;
      }
    }
  }
  return { height, width, channels: target, data: result };
}

/**
 * Writes (pixel * scale - mean) / std of every channel, in the layout's order.
 * @param target receives channels * height * width values.
 * @throws DoubleSparseError `option-out-of-range` when mean or std have neither one value nor one a channel
 */
export function normalizeInto(image: RawImage, preprocessing: Preprocessing, target: Float32Array): void {
  const { data, channels } = image;
  const { layout, scale = data instanceof Uint8Array ? 1 / 255 : 1 } = preprocessing;
  const mean = perChannel('mean', preprocessing.mean ?? [0], channels);
  const std = perChannel('std', preprocessing.std ?? [1], channels);
  const count = image.height * image.width;
  const [pixelStep, channelStep] = layout === 'nchw' ? [1, count] : [channels, 1];
  for (let c = 0; c < channels; c++) {
    const factor = scale / (std[c] as number);
    const offset = (mean[c] as number) / (std[c] as number);
    for (let i = 0; i < count; i++)
      target[i * pixelStep + c * channelStep] = (data[i * channels + c] as number) * factor - offset;
  }
}

function perChannel(option: 'mean' | 'std', values: readonly number[], channels: number): readonly number[] {
  if (values.length === channels) return values;
  if (values.length === 1) return Array.from({ length: channels }, () => values[0] as number);
  throw new DoubleSparseError(
    'option-out-of-range',
    `--${option} has ${values.length} values for images of ${channels} channels`,
    { data: { option, values, channels }, hint: 'give one value for all channels, or one for each' },
  );
}
