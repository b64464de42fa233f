import type { Matrix } from '../linalg/matrix.js';
import type { Axis } from './convolution-geometry.js';

/** One image's planes of a group: channels x height x width from `offset` on. */
export interface Planes {
  readonly data: Float32Array;
  readonly offset: number;
  readonly channels: number;
}

/**
 * Rows of patches (im2col): row i is what the weight of one output is multiplied with at position `positions[i]`, in the
 * order of the weight's entries (channel, kernel row, kernel column); zeros where it reaches beyond the input.
 * @param positions numbers of output positions, row by row of the output.
 * @param rows at least positions.length x (channels * kernel height * kernel width).
 */
export function unfold(
  planes: Planes,
  [height, width]: readonly [Axis, Axis],
  positions: ArrayLike<number>,
  rows: Matrix,
): void {
  const { data, offset, channels } = planes;
  const { columns, data: target } = rows;
  const plane = height.input * width.input;
  const steps = patchOffsets(channels, height, width);
  for (let i = 0, at = 0; i < positions.length; i++, at += columns) {
    const position = positions[i] as number;
    const top = Math.floor(position / width.output) * height.stride - height.begin;
    const left = (position % width.output) * width.stride - width.begin;
    const corner = offset + top * width.input + left;
    if (isInside(top, height) && isInside(left, width)) {
      for (let j = 0; j < columns; j++) target[at + j] = data[corner + (steps[j] as number)] as number;
      continue;
    }
    let to = at;
    for (let c = 0; c < channels; c++) {
      for (let ky = 0; ky < height.kernel; ky++) {
        const y = top + ky * height.dilation;
        const line = offset + c * plane + y * width.input;
        const outside = y < 0 || y >= height.input;
        for (let kx = 0; kx < width.kernel; kx++) {
          const x = left + kx * width.dilation;
          target[to++] = outside || x < 0 || x >= width.input ? 0 : (data[line + x] as number);
        }
      }
    }
  }
}

/** Where the entries of a patch lie, counted from its upper left corner in the first plane. */
function patchOffsets(channels: number, height: Axis, width: Axis): Int32Array {
  const steps = new Int32Array(channels * height.kernel * width.kernel);
  let at = 0;
  for (let c = 0; c < channels; c++)
    for (let ky = 0; ky < height.kernel; ky++)
      for (let kx = 0; kx < width.kernel; kx++)
        steps[at++] = (c * height.input + ky * height.dilation) * width.input + kx * width.dilation;
  return steps;
}

function isInside(first: number, axis: Axis): boolean {
  return first >= 0 && first + (axis.kernel - 1) * axis.dilation < axis.input;
}
