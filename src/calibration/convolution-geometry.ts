import { DoubleSparseError } from '../errors.js';

/** How a convolution walks over its input. Lists have one entry a spatial dimension (1 or 2), slowest first. */
export interface ConvolutionGeometry {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Begins of all dimensions, then ends; only of NOTSET. */
  readonly pads: readonly number[];
  readonly autoPad: 'NOTSET' | 'SAME_UPPER' | 'SAME_LOWER' | 'VALID';
}

/** One spatial dimension with sizes known. */
export interface Axis {
  readonly input: number;
  readonly output: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** Zeros before the input; those behind follow from the other numbers. */
  readonly begin: number;
}

/** Of one output: an image of 8192 x 8192. Pads beyond reason would make more. */
const maximumPositions = 1 << 26;

/**
 * Height and width of a convolution on an input of these spatial sizes, by the ONNX definition of Conv; a 1-D one has
 * height 1.
 * @throws DoubleSparseError `shape-mismatch` when geometry and sizes do not fit, or no output is left
 */
export function convolutionAxes(geometry: ConvolutionGeometry, sizes: readonly number[]): readonly [Axis, Axis] {
  const dimensions = geometry.kernel.length;
  const lists = [geometry.strides, geometry.dilations, sizes];
  const isWhole = (value: number): boolean => Number.isSafeInteger(value) && value > 0;
  if (
    (dimensions !== 1 && dimensions !== 2) ||
    lists.some((list) => list.length !== dimensions || !list.every(isWhole)) ||
    !geometry.kernel.every(isWhole) ||
    (geometry.autoPad === 'NOTSET' &&
      (geometry.pads.length !== 2 * dimensions || !geometry.pads.every(Number.isSafeInteger)))
  ) {
    throw misfit(geometry, sizes, 'do not fit each other');
  }
  const axes = sizes.map((size, at) => axisOf(geometry, at, size));
  const positions = axes.reduce((product, { output }) => product * Math.max(0, output), 1);
  if (!(positions >= 1)) throw misfit(geometry, sizes, 'leave no output');
  if (positions > maximumPositions) throw misfit(geometry, sizes, `make more than ${maximumPositions} positions`);
  const [last, height = trivialAxis] = axes.reverse() as [Axis, Axis | undefined];
  return [height, last];
}

const trivialAxis: Axis = { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, begin: 0 };

function axisOf(geometry: ConvolutionGeometry, at: number, input: number): Axis {
  const { autoPad, pads } = geometry;
  const [kernel, stride, dilation] = [geometry.kernel[at], geometry.strides[at], geometry.dilations[at]] as [
    number,
    number,
    number,
  ];
  const reach = dilation * (kernel - 1) + 1;
  let [begin, end] = [0, 0];
  if (autoPad === 'NOTSET') [begin, end] = [pads[at] as number, pads[at + geometry.kernel.length] as number];
  else if (autoPad !== 'VALID') {
    const total = Math.max(0, (Math.ceil(input / stride) - 1) * stride + reach - input);
    begin = autoPad === 'SAME_LOWER' ? Math.ceil(total / 2) : Math.floor(total / 2);
    end = total - begin;
  }
  const output = Math.floor((input + begin + end - reach) / stride) + 1;
  return { input, output, kernel, stride, dilation, begin };
}

function misfit(geometry: ConvolutionGeometry, sizes: readonly number[], problem: string): DoubleSparseError {
  const { kernel, strides, dilations, pads, autoPad } = geometry;
  return new DoubleSparseError(
    'shape-mismatch',
    `kernel [${kernel}], strides [${strides}], dilations [${dilations}], pads [${pads}] (${autoPad}) and an input of [${sizes}] ${problem}`,
    {
      data: { kernel, strides, dilations, pads, autoPad, sizes },
      hint: 'convolutions of one or two dimensions are known',
    },
  );
}
