import type { Tape, Variable } from '../tape.js';

/**
 * One row an image, in the order of ONNX: channel by channel, each with its positions.
 * @param positions of an image. @param x (images * positions) x channels.
 */
export function flatten(tape: Tape, positions: number, x: Variable): Variable {
  const channels = x.value.columns;
  const result = tape.variable(x.value.rows / positions, channels * positions);
  const each = (visit: (inside: number, flat: number) => void): void => {
    for (let inside = 0, image = 0; image < result.value.rows; image++)
      for (let p = 0; p < positions; p++)
        for (let c = 0; c < channels; c++, inside++) visit(inside, (image * channels + c) * positions + p);
  };
  const [from, to] = [x.value.data, result.value.data];
  each((inside, flat) => {
    to[flat] = from[inside] as number;
  });
  tape.record(() => {
    const [gradient, toX] = [tape.gradientOf(result).data, tape.gradientOf(x).data];
    each((inside, flat) => {
      toX[inside]! += gradient[flat] as number;
    });
  });
  return result;
}
