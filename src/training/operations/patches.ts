import type { Axis } from '../../calibration/convolution-geometry.js';
import type { Matrix } from '../../linalg/matrix.js';

/** Images of equal size below each other: rows are positions of an image line by line, columns are channels. */
export interface Windows {
  readonly height: Axis;
  readonly width: Axis;
}

/** Calls `visit` for every place of the kernel inside an image, with row of the output, place in the kernel, row of the input. */
export function eachPlace(
  { height, width }: Windows,
  images: number,
  visit: (output: number, place: number, input: number) => void,
): void {
  for (let image = 0, output = 0; image < images; image++) {
    const first = image * height.input * width.input;
    for (let top = -height.begin, y = 0; y < height.output; y++, top += height.stride) {
      for (let left = -width.begin, x = 0; x < width.output; x++, left += width.stride, output++) {
        for (let ky = 0, place = 0; ky < height.kernel; ky++) {
          const line = top + ky * height.dilation;
          for (let kx = 0; kx < width.kernel; kx++, place++) {
            const column = left + kx * width.dilation;
            if (line < 0 || line >= height.input || column < 0 || column >= width.input) continue;
            visit(output, place, first + line * width.input + column);
          }
        }
      }
    }
  }
}

/**
 * Patches of some channels, zeros outside of the image.
 * @param patches positions of the output x (places of the kernel * channels), zeros.
 */
export function gatherPatches(
  windows: Windows,
  x: Matrix,
  firstChannel: number,
  channels: number,
  patches: Matrix,
): void {
  const { data, columns } = x;
  eachPlace(windows, imagesOf(windows, x), (output, place, input) => {
    let to = output * patches.columns + place * channels;
    let from = input * columns + firstChannel;
    for (const end = from + channels; from < end; from++, to++) patches.data[to] = data[from] as number;
  });
}

/** Adds patches to the places that they were gathered from. */
export function scatterPatches(
  windows: Windows,
  patches: Matrix,
  firstChannel: number,
  channels: number,
  x: Matrix,
): void {
  const { data, columns } = x;
  eachPlace(windows, imagesOf(windows, x), (output, place, input) => {
    let from = output * patches.columns + place * channels;
    let to = input * columns + firstChannel;
    for (const end = from + channels; from < end; from++, to++) data[to]! += patches.data[from] as number;
  });
}

/** @param x the input. */
export function imagesOf({ height, width }: Windows, x: Matrix): number {
  return x.rows / (height.input * width.input);
}
