import type { FloatType } from '../../formats/dtype.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { attributeOf, integerAttribute, isStandard } from '../../formats/onnx/node.js';
import type { TensorProto } from '../../formats/onnx/proto/onnx_pb.js';
import { tensorShape } from '../../formats/onnx/tensor.js';
import { elementTypeName, floatTypeOf } from '../../formats/onnx/tensor-type.js';
import { type GraphIndex, isFixed } from './graph-index.js';

/** A tensor of floats that is part of the model: an initializer or the value of a Constant node. */
export interface FloatConstant {
  /** Name of the stored tensor: of the initializer, or of what the Constant node makes. */
  readonly name: string;
  readonly tensor: TensorProto;
  readonly shape: readonly number[];
  /** The type it is stored in. */
  readonly storedType: FloatType;
  /** The type it is read in, another one behind a Cast. */
  readonly type: FloatType;
}

/**
 * What a tensor name stands for, behind any number of Identity and Cast nodes.
 * @returns a constant, or why it is none, as the end of a sentence that starts with what it is ("its weight …").
 */
export function findConstant(model: OnnxModel, index: GraphIndex, name: string): FloatConstant | string {
  let type: FloatType | undefined;
  // A damaged graph may hold a cycle.
  for (let current = name, steps = 0; steps < 100; steps++) {
    const initializer = model.initializers.get(current)?.message;
    if (initializer) {
      return isFixed(model, index.inputs, current)
        ? floatConstant(model, current, initializer, type)
        : 'is an input of the graph, with a default value that callers may replace';
    }
    if (model.sparseInitializers.has(current)) return 'is a sparse initializer';
    if (index.inputs.has(current)) return 'is an input of the graph';
    const node = index.producers.get(current)?.message;
    if (!node) return 'is not in the graph';
    if (!isStandard(node)) return `is computed by ${node.opType} of ${node.domain}`;
    const next = node.input[0];
    if (node.opType === 'Constant') {
      const value = attributeOf(node, 'value')?.t;
      return value ? floatConstant(model, current, value, type) : 'is a Constant in another form than a tensor';
    }
    if (next === undefined || (node.opType !== 'Identity' && node.opType !== 'Cast')) {
      return node.opType === 'DequantizeLinear' ? 'is quantised (DequantizeLinear)' : `is computed by ${node.opType}`;
    }
    if (node.opType === 'Cast') {
      const to = floatTypeOf(integerAttribute(node, 'to', 0));
      if (!to) return 'is cast to another type than a float';
      // The last Cast of the chain is the first one met on the way up.
      type ??= to;
    }
    current = next;
  }
  return 'stands behind too many nodes';
}

function floatConstant(
  model: OnnxModel,
  name: string,
  tensor: TensorProto,
  type: FloatType | undefined,
): FloatConstant | string {
  const storedType = floatTypeOf(tensor.dataType);
  if (!storedType) return `is stored as ${elementTypeName(tensor.dataType)}`;
  return { name, tensor, shape: tensorShape(tensor, model.path), storedType, type: type ?? storedType };
}
