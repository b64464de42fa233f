import type { Axis } from '../calibration/convolution-geometry.js';
import type { Matrix } from '../linalg/matrix.js';

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

/** @param x the input. */
export function imagesOf({ height, width }: Windows, x: Matrix): number {
  return x.rows / (height.input * width.input);
}
