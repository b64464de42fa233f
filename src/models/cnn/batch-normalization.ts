import type { OnnxModel, OnnxNode } from '../../formats/onnx/model.js';
import { floatAttribute, integerAttribute, isStandard } from '../../formats/onnx/node.js';
import { type FloatConstant, findConstant } from './constants.js';
import type { GraphIndex } from './graph-index.js';
import type { BatchNormalization } from './layer.js';

/** The parameters of a BatchNormalization in inference mode, undefined for any other node or if they are no constants. */
export function batchNormalizationOf(
  model: OnnxModel,
  index: GraphIndex,
  node: OnnxNode,
): BatchNormalization | undefined {
  const { message } = node;
  if (!isStandard(message) || message.opType !== 'BatchNormalization') return undefined;
  // In training the statistics are outputs.
  if (message.output.length !== 1 || integerAttribute(message, 'training_mode', 0) !== 0) return undefined;
  const parameters = message.input.slice(1, 5).map((name) => findConstant(model, index, name));
  const vectors = parameters.filter(
    (each): each is FloatConstant => typeof each === 'object' && each.shape.length === 1,
  );
  const [scale, shift, mean, variance] = vectors;
  if (!scale || !shift || !mean || !variance || vectors.some(({ shape }) => shape[0] !== scale.shape[0]))
    return undefined;
  const name = message.name || (message.output[0] as string);
  return { node, name, axis: 1, epsilon: floatAttribute(message, 'epsilon', 1e-5), scale, shift, mean, variance };
}
