import type { Tape, Variable } from '../tape.js';
import { eachPlace, imagesOf, type Windows } from '../windows.js';

/** The largest value of each window, channel by channel; the first of equals has the gradient. */
export function maximumPooling(tape: Tape, windows: Windows, x: Variable): Variable {
  const { columns, data } = x.value;
  const result = tape.variable(outputRows(windows, x), columns);
  const best = result.value.data.fill(Number.NEGATIVE_INFINITY);
  const chosen = new Int32Array(best.length);
  eachPlace(windows, imagesOf(windows, x.value), (output, _, input) => {
    for (let j = 0, to = output * columns, from = input * columns; j < columns; j++, to++, from++) {
      if ((data[from] as number) <= (best[to] as number)) continue;
      best[to] = data[from] as number;
      chosen[to] = from;
    }
  });
  tape.record(() => {
    const [gradient, toX] = [tape.gradientOf(result).data, tape.gradientOf(x).data];
    for (let i = 0; i < gradient.length; i++) toX[chosen[i] as number]! += gradient[i] as number;
  });
  return result;
}

/** The mean of each window, channel by channel. @param countsPadding do zeros outside of the image count? */
export function averagePooling(tape: Tape, windows: Windows, countsPadding: boolean, x: Variable): Variable {
  const { columns, data } = x.value;
  const images = imagesOf(windows, x.value);
  const result = tape.variable(outputRows(windows, x), columns);
  const counts = new Float64Array(result.value.rows);
  if (countsPadding) counts.fill(windows.height.kernel * windows.width.kernel);
  else eachPlace(windows, images, (output) => counts[output]!++);
  const mean = result.value.data;
  eachPlace(windows, images, (output, _, input) => {
    const factor = 1 / (counts[output] as number);
    for (let j = 0, to = output * columns, from = input * columns; j < columns; j++, to++, from++)
      mean[to]! += factor * (data[from] as number);
  });
  tape.record(() => {
    const [gradient, toX] = [tape.gradientOf(result).data, tape.gradientOf(x).data];
    eachPlace(windows, images, (output, _, input) => {
      const factor = 1 / (counts[output] as number);
      for (let j = 0, from = output * columns, to = input * columns; j < columns; j++, to++, from++)
        toX[to]! += factor * (gradient[from] as number);
    });
  });
  return result;
}

const outputRows = (windows: Windows, x: Variable): number =>
  imagesOf(windows, x.value) * windows.height.output * windows.width.output;
