import { type ConvolutionGeometry, convolutionAxes } from '../../calibration/convolution-geometry.js';
import { integerAttribute, integersAttribute, stringAttribute } from '../../formats/onnx/node.js';
import type { NodeProto } from '../../formats/onnx/proto/onnx_pb.js';
import type { Windows } from '../../training/windows.js';

interface Size {
  readonly height: number;
  readonly width: number;
}

/** Windows of a MaxPool or AveragePool, undefined if it is no 2-D pooling of whole windows with one output. */
export function poolingWindows(message: NodeProto, { height, width }: Size): Windows | undefined {
  const kernel = integersAttribute(message, 'kernel_shape') ?? [];
  if (kernel.length !== 2 || integerAttribute(message, 'ceil_mode', 0) !== 0 || message.output.length !== 1)
    return undefined;
  const geometry: ConvolutionGeometry = {
    kernel,
    strides: integersAttribute(message, 'strides') ?? [1, 1],
    dilations: integersAttribute(message, 'dilations') ?? [1, 1],
    pads: integersAttribute(message, 'pads') ?? [0, 0, 0, 0],
    autoPad: stringAttribute(message, 'auto_pad', 'NOTSET') as ConvolutionGeometry['autoPad'],
  };
  const [ofHeight, ofWidth] = convolutionAxes(geometry, [height, width]);
  return { height: ofHeight, width: ofWidth };
}

/** One window, the whole image. */
export function wholeImage({ height, width }: Size): Windows {
  const axis = (input: number) => ({ input, output: 1, kernel: input, stride: 1, dilation: 1, begin: 0 });
  return { height: axis(height), width: axis(width) };
}
