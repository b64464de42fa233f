import type { FloatType } from '../../formats/dtype.js';
import type { OnnxModel, OnnxNode } from '../../formats/onnx/model.js';
import { newPart } from '../../formats/onnx/model.js';
import { attributeOf, isStandard } from '../../formats/onnx/node.js';
import { type TensorProto, TensorProto_DataType as Type } from '../../formats/onnx/proto/onnx_pb.js';
import { floatTensor, rawTensorBytes, tensorShape } from '../../formats/onnx/tensor.js';
import { floatTypeOf } from '../../formats/onnx/tensor-type.js';
import { elementCount } from '../../linalg/element-count.js';
import { type GraphIndex, indexGraph } from './graph-index.js';
import { maximumPackedSize } from './packed-constant.js';

/**
 * The model with every weight that {@link packConstant} packed as a plain tensor of the same name again, its zeros
 * included. Constants that are computed in any other way stay.
 * @returns also the bytes that each took in the file when packed, and how it was packed, by name.
 * @throws DoubleSparseError those of reading tensors
 */
export function unpackConstants(model: OnnxModel): {
  readonly model: OnnxModel;
  readonly packedBytes: ReadonlyMap<string, number>;
  readonly packed: ReadonlyMap<string, PackedTensors>;
} {
  const index = indexGraph(model);
  const packedBytes = new Map<string, number>();
  const found = new Map<string, PackedTensors>();
  const initializers = new Map(model.initializers);
  const removed = new Set<OnnxNode>();
  for (const node of model.nodes) {
    const packed = findPacked(model, index, node);
    if (!packed) continue;
    const { name, nodes, tensors } = packed;
    const plain = unpacked(model, packed);
    if (!plain) continue;
    const { tensor, places } = plain;
    for (const each of nodes) removed.add(each);
    for (const tensor of tensors) initializers.delete(tensor.name);
    initializers.set(name, newPart(tensor));
    found.set(name, { values: packed.values, places });
    const ofNodes = nodes.reduce((sum, { bytes }) => sum + (bytes?.byteLength ?? 0), 0);
    packedBytes.set(
      name,
      tensors.reduce((sum, tensor) => sum + (rawTensorBytes(tensor, model)?.byteLength ?? 0), ofNodes),
    );
  }
  const nodes = model.nodes.filter((node) => !removed.has(node));
  return { model: model.edited({ nodes, initializers }), packedBytes, packed: found };
}

/** How a weight was packed, see {@link packConstant}. */
export interface PackedTensors {
  /** Zero, then the values of the bits that are set. */
  readonly values: TensorProto;
  /** Places of those bits among the entries of the weight, ascending. */
  readonly places: Uint32Array;
}

interface Packed {
  readonly name: string;
  readonly mask: TensorProto;
  readonly values: TensorProto;
  readonly type: FloatType;
  readonly shape: readonly number[];
  /** All that serve this constant alone. */
  readonly nodes: readonly OnnxNode[];
  readonly tensors: readonly TensorProto[];
}

/** What a node and those before it unpack, if they are the ones of {@link packConstant}. */
function findPacked(model: OnnxModel, index: GraphIndex, gather: OnnxNode): Packed | undefined {
  const nodes = [gather];
  // What others read too must stay; and a bitmask that served many weights would make a small file a large model.
  const isRead = (name: string | undefined, times: number) =>
    name !== undefined && index.uses.get(name)?.length === times;
  const step = (name: string | undefined, opType: string, times = 1): readonly string[] | undefined => {
    const node = name === undefined ? undefined : index.producers.get(name);
    if (!node || !isStandard(node.message) || node.message.opType !== opType || !isRead(name, times)) return undefined;
    nodes.push(node);
    return node.message.input;
  };
  if (!isStandard(gather.message) || gather.message.opType !== 'Gather') return undefined;
  const name = gather.message.output[0];
  const [valuesName, shaped] = gather.message.input;
  const [positions, shapeName] = step(shaped, 'Reshape') ?? [];
  const [counts, flat] = step(positions, 'Mul') ?? [];
  const [counted] = step(counts, 'CumSum') ?? [];
  if (counted === undefined || counted !== flat) return undefined;
  const isCut = index.producers.get(flat)?.message.opType === 'Slice';
  const [whole, , sizeName] = isCut ? (step(flat, 'Slice', 2) ?? []) : [flat];
  const [integers] = step(whole, 'Reshape', isCut ? 1 : 2) ?? [];
  const [bits] = step(integers, 'Cast') ?? [];
  const [shifted] = step(bits, 'Mod') ?? [];
  const [maskName] = step(shifted, 'BitShift') ?? [];
  const tensors = [maskName, valuesName, shapeName, ...(isCut ? [sizeName] : [])].map((each) =>
    tensorOf(model, index, each),
  );
  const [mask, values, shape] = tensors;
  const type = values && floatTypeOf(values.dataType);
  if (!name || !isRead(maskName, 1) || !mask || !values || !shape || !type || mask.dataType !== Type.UINT8)
    return undefined;
  const dimensions = integersOf(model, shape);
  if (!dimensions) return undefined;
  return { name, type, mask, values, shape: dimensions, nodes, tensors: tensors.filter((each) => each !== undefined) };
}

/** The tensor of an initializer or Constant node. */
function tensorOf(model: OnnxModel, index: GraphIndex, name: string | undefined): TensorProto | undefined {
  if (name === undefined) return undefined;
  const initializer = model.initializers.get(name)?.message;
  const node = index.producers.get(name)?.message;
  return initializer ?? (node?.opType === 'Constant' ? attributeOf(node, 'value')?.t : undefined);
}

function integersOf(model: OnnxModel, tensor: TensorProto): number[] | undefined {
  const bytes = tensor.dataType === Type.INT64 ? rawTensorBytes(tensor, model) : undefined;
  if (!bytes || bytes.byteLength > 8 * 64) return undefined;
  return Array.from(new BigInt64Array(Uint8Array.from(bytes).buffer), Number);
}

/** The plain tensor and the places of its values, undefined where bitmask, values and shape contradict each other. */
function unpacked(
  model: OnnxModel,
  { name, type, mask, values, shape }: Packed,
): { tensor: TensorProto; places: Uint32Array } | undefined {
  const size = elementCount(shape);
  const bits = rawTensorBytes(mask, model);
  const nonzeros = tensorShape(values, model.path).length === 1 ? model.readFloats(values) : undefined;
  const fits = shape.every((dimension) => dimension > 0) && size <= maximumPackedSize;
  if (!fits || !bits || !nonzeros?.length || Math.ceil(size / 8) !== bits.byteLength) return undefined;
  const places = new Uint32Array(nonzeros.length - 1);
  const result = new Float32Array(size);
  let next = 0;
  for (let i = 0; i < size; i++) {
    if ((((bits[i >> 3] as number) >> (i & 7)) & 1) === 0) continue;
    if (next === places.length) return undefined;
    places[next++] = i;
    result[i] = nonzeros[next] as number;
  }
  return next === places.length ? { tensor: floatTensor(name, type, shape, result), places } : undefined;
}
