import type { ConvolutionGeometry } from '../../calibration/convolution-geometry.js';
import { integerAttribute, integersAttribute, stringAttribute } from '../../formats/onnx/node.js';
import type { NodeProto } from '../../formats/onnx/proto/onnx_pb.js';

/**
 * The geometry of a Conv node.
 * @param shape of its weight: outputs x inputs of a group x kernel.
 * @returns why it cannot be had, as a sentence, where node and weight do not fit or it is not 1-D or 2-D.
 */
export function convolutionGeometry(
  node: NodeProto,
  shape: readonly number[],
): { geometry: ConvolutionGeometry; groups: number } | string {
  const kernel = shape.slice(2);
  const dimensions = kernel.length;
  if (dimensions !== 1 && dimensions !== 2) return `${Math.max(0, dimensions)}-D convolutions are not rewritten`;
  const ones = kernel.map(() => 1);
  const autoPad = stringAttribute(node, 'auto_pad', 'NOTSET');
  if (autoPad !== 'NOTSET' && autoPad !== 'SAME_UPPER' && autoPad !== 'SAME_LOWER' && autoPad !== 'VALID')
    return `auto_pad ${autoPad} is not known`;
  const stated = integersAttribute(node, 'kernel_shape') ?? kernel;
  const strides = integersAttribute(node, 'strides') ?? ones;
  const dilations = integersAttribute(node, 'dilations') ?? ones;
  const statedPads = integersAttribute(node, 'pads');
  const pads = (autoPad === 'NOTSET' ? statedPads : undefined) ?? [...kernel, ...kernel].map(() => 0);
  const positive = (list: readonly number[]) => list.length === dimensions && list.every((value) => value > 0);
  const fits = positive(strides) && positive(dilations) && pads.length === 2 * dimensions && positive(kernel);
  if (!fits || stated.join() !== kernel.join())
    return `kernel ${stated}, strides ${strides}, dilations ${dilations}, pads ${pads} do not fit its weight [${shape}]`;
  const groups = integerAttribute(node, 'group', 1);
  if (groups < 1 || (shape[0] as number) % groups !== 0) return `${shape[0]} outputs are not ${groups} groups`;
  return { geometry: { kernel, strides, dilations, pads, autoPad }, groups };
}
