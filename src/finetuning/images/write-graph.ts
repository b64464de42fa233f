import { clone } from '@bufbuild/protobuf';
import type { FloatType } from '../../formats/dtype.js';
import { newPart, type OnnxModel, type OnnxNode } from '../../formats/onnx/model.js';
import { attributeOf } from '../../formats/onnx/node.js';
import { NodeProtoSchema, type TensorProto } from '../../formats/onnx/proto/onnx_pb.js';
import { floatTensor, tensorShape } from '../../formats/onnx/tensor.js';
import { floatTypeOf } from '../../formats/onnx/tensor-type.js';
import { elementCount } from '../../linalg/element-count.js';
import type { StoredTensor } from './graph-weights.js';

/**
 * The model with other values in its trained tensors, initializers or of Constant nodes, rounded to their types: all
 * other nodes, names, shapes, bitmasks and tensors as they are.
 * @throws DoubleSparseError `non-finite-value`
 */
export function withValues(model: OnnxModel, values: Float32Array, stored: readonly StoredTensor[]): OnnxModel {
  const replaced = new Map<TensorProto, TensorProto>();
  for (const { constant, offset, places, packed } of stored) {
    const own = values.subarray(offset, offset + places.length);
    const entries = new Float32Array(packed ? 1 + own.length : elementCount(constant.shape));
    if (packed) entries.set(own, 1);
    else for (const [i, place] of places.entries()) entries[place] = own[i] as number;
    const tensor = packed ?? constant.tensor;
    const type = floatTypeOf(tensor.dataType) as FloatType;
    replaced.set(tensor, floatTensor(tensor.name, type, tensorShape(tensor, model.path), entries));
  }
  const initializers = new Map(model.initializers);
  for (const [name, { message }] of initializers) {
    const tensor = replaced.get(message);
    if (tensor) initializers.set(name, newPart(tensor));
  }
  return model.edited({ initializers, nodes: model.nodes.map((node) => withConstant(node, replaced)) });
}

function withConstant(node: OnnxNode, replaced: ReadonlyMap<TensorProto, TensorProto>): OnnxNode {
  const present = attributeOf(node.message, 'value')?.t;
  const tensor = present && replaced.get(present);
  if (!tensor) return node;
  const message = clone(NodeProtoSchema, node.message);
  for (const attribute of message.attribute) if (attribute.name === 'value') attribute.t = tensor;
  return newPart(message);
}
