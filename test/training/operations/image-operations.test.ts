import { describe, it } from 'vitest';
import { convolutionAxes } from '../../../src/calibration/convolution-geometry.js';
import { add } from '../../../src/training/operations/add.js';
import { addBias } from '../../../src/training/operations/add-bias.js';
import { batchNormalization } from '../../../src/training/operations/batch-normalization.js';
import { convolution } from '../../../src/training/operations/convolution.js';
import { flatten } from '../../../src/training/operations/flatten.js';
import { averagePooling, maximumPooling } from '../../../src/training/operations/pooling.js';
import { relu } from '../../../src/training/operations/relu.js';
import { randomMatrix } from '../../helpers.js';
import { checkDerivatives } from './finite-differences.js';

const windows = (kernel: number, stride: number, pad: number, dilation = 1) => {
  const pads = [pad, pad, pad, 0];
  const twice = (value: number) => [value, value];
  const geometry = { kernel: twice(kernel), strides: twice(stride), dilations: twice(dilation), pads };
  const [height, width] = convolutionAxes({ ...geometry, autoPad: 'NOTSET' }, [5, 4]);
  return { height, width };
};
/** Two images of 5 x 4 positions. */
const images = (channels: number, seed: number) => randomMatrix(40, channels, seed);

describe('derivatives agree with finite differences', () => {
  it.each([
    ['plain', 3, 1, 1, 1, 1],
    ['with strides and groups', 2, 2, 1, 1, 3],
    ['dilated', 2, 1, 1, 2, 1],
  ])('convolution, %s', (_, kernel, stride, pad, dilation, groups) => {
    const channels = 6 / groups;
    checkDerivatives({
      inputs: [images(6, 1)],
      weights: [randomMatrix(3, kernel * kernel * channels, 2), randomMatrix(1, 3, 3)],
      operation: (context, tape, [x], [weight, bias]) => {
        const shape = { ...windows(kernel, stride, pad, dilation), groups };
        return convolution(context, tape, { weight: weight!, bias: bias! }, shape, x!);
      },
    });
  });

  it('batch normalisation', () => {
    const variance = randomMatrix(1, 3, 4);
    const fixed = { ...variance, data: variance.data.map((value) => value * value + 0.5) };
    checkDerivatives({
      inputs: [images(3, 1)],
      weights: [randomMatrix(1, 3, 2), randomMatrix(1, 3, 3)],
      operation: (context, tape, [x], [scale, shift]) =>
        batchNormalization(
          context,
          tape,
          {
            scale: scale!,
            shift: shift!,
            mean: { value: randomMatrix(1, 3, 5) },
            variance: { value: fixed },
            epsilon: 1e-5,
          },
          x!,
        ),
    });
  });

  it('addition, of a value to itself too', () => {
    checkDerivatives({
      inputs: [images(3, 1), images(3, 2)],
      operation: (context, tape, [x, y]) => add(context, tape, add(context, tape, x!, y!), x!),
    });
  });

  it('addition of a bias', () => {
    checkDerivatives({
      inputs: [images(3, 1)],
      weights: [randomMatrix(1, 3, 2)],
      operation: (context, tape, [x], [bias]) => addBias(context, tape, bias!, x!),
    });
  });

  it('pooling over whole images', () => {
    const axis = (input: number) => ({ input, output: 1, kernel: input, stride: 1, dilation: 1, begin: 0 });
    const whole = { height: axis(5), width: axis(4) };
    const distinct = { ...images(3, 1), data: images(3, 1).data.map((_, i) => ((i * 7919) % 120) / 10) };
    checkDerivatives({ inputs: [distinct], operation: (_, tape, [x]) => maximumPooling(tape, whole, x!) });
    for (const counts of [false, true])
      checkDerivatives({ inputs: [distinct], operation: (_, tape, [x]) => averagePooling(tape, whole, counts, x!) });
  });

  it('ReLU away from its kink, and pooling and flattening', () => {
    const far = images(3, 1);
    const inputs = [{ ...far, data: far.data.map((value) => value + Math.sign(value)) }];
    checkDerivatives({ inputs, operation: (context, tape, [x]) => relu(context, tape, x!) });
    // Differences large against the step: the largest value of a window stays the largest.
    const distinct = { ...far, data: far.data.map((_, i) => ((i * 7919) % 120) / 10) };
    checkDerivatives({ inputs: [distinct], operation: (_, tape, [x]) => maximumPooling(tape, windows(3, 2, 1), x!) });
    for (const counts of [false, true])
      checkDerivatives({ inputs, operation: (_, tape, [x]) => averagePooling(tape, windows(3, 2, 1), counts, x!) });
    checkDerivatives({ inputs, operation: (_, tape, [x]) => flatten(tape, 20, x!) });
  });
});
