import { toBinary } from '@bufbuild/protobuf';
import { bytesPerFloat, decodeFloats, type FloatType } from '../../formats/dtype.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { makeNode } from '../../formats/onnx/node.js';
import {
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
} from '../../formats/onnx/proto/onnx_pb.js';
import { floatTensor } from '../../formats/onnx/tensor.js';
import { elementTypeOf } from '../../formats/onnx/tensor-type.js';
import { countNonzeros, matrix } from '../../linalg/matrix.js';
import {
  maximumPackedSize,
  oldestPackedOpset,
  type PackedConstant,
  packConstant,
  type UnpackingConstants,
  unpackingTensors,
} from './packed-constant.js';
import { UniqueNames } from './unique-names.js';

/** `packed`: nonzeros and a bitmask where that is smaller, see {@link packConstant}. `plain`: zeros and all. */
export type WeightFormat = 'packed' | 'plain';

/** How a new weight lies in the file. */
export interface StoredWeight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly nonzeros: number;
  readonly type: FloatType;
  readonly format: WeightFormat;
  /** Why a weight is plain that was to be packed. */
  readonly reason: string | undefined;
  /** Bytes that it takes, operators that unpack it included. */
  readonly bytes: number;
  /** Frobenius norm of the rounding to `type`, relative to that of the weight. */
  readonly roundingError: number;
}

export interface NewWeight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
  /** The type in which nodes read it. */
  readonly type: FloatType;
  /** The type to store it in; a Cast follows if it is another one. */
  readonly storedType: FloatType;
}

/** New tensors of a graph, and the nodes that make some of them: those go before all others. */
export class GraphAdditions {
  readonly initializers: TensorProto[] = [];
  readonly nodes: NodeProto[] = [];
  readonly #model: OnnxModel;
  readonly #names: UniqueNames;
  #unpacking: UnpackingConstants | undefined;
  readonly #shared = new Set<string>();

  constructor(model: OnnxModel) {
    this.#model = model;
    this.#names = new UniqueNames(model);
  }

  /** A name that is new in the graph, as wanted if possible. */
  name(wanted: string): string {
    return this.#names.take(wanted);
  }

  /** A float tensor stored as it is. @returns its name. */
  addFloats(wanted: string, type: FloatType, shape: readonly number[], values: Float32Array): string {
    return this.#add(floatTensor(this.name(wanted), type, shape, values)).name;
  }

  /** @throws DoubleSparseError `non-finite-value` for values that are infinite in the stored type. */
  addWeight({ name: wanted, shape, values, type, storedType }: NewWeight, format: WeightFormat): StoredWeight {
    const name = this.name(wanted);
    const cast = storedType !== type;
    const stored = cast ? this.name(`${name}/${storedType}`) : name;
    const plain = floatTensor(stored, storedType, shape, values);
    const nonzeros = countNonzeros(matrix(1, values.length, values));
    const packed = format === 'packed' ? this.#pack(plain, shape, values, nonzeros, storedType) : 'plain was asked for';
    if (typeof packed === 'string') this.#add(plain);
    else this.#addPacked(packed);
    if (cast) {
      const attributes = { to: elementTypeOf(type) };
      this.nodes.push(makeNode({ opType: 'Cast', input: [stored], output: [name], attributes }));
    }
    return {
      name,
      shape,
      nonzeros,
      type: storedType,
      format: typeof packed === 'string' ? 'plain' : 'packed',
      reason: format === 'packed' && typeof packed === 'string' ? packed : undefined,
      bytes: typeof packed === 'string' ? tensorBytes(plain) : packedBytes(packed),
      roundingError: roundingError(plain, storedType, values),
    };
  }

  /** The packed form, or why there is none. */
  #pack(
    plain: TensorProto,
    shape: readonly number[],
    values: Float32Array,
    nonzeros: number,
    type: FloatType,
  ): PackedConstant | string {
    if (this.#model.opset < oldestPackedOpset)
      return `version ${this.#model.opset} of the operators cannot unpack, ${oldestPackedOpset} is the first`;
    if (values.length > maximumPackedSize)
      return `onnxruntime would not unpack more than ${maximumPackedSize} weights when it loads the model`;
    const dataBytes = values.length / 8 + nonzeros * bytesPerFloat(type);
    const tooLarge = 'nonzeros and bitmask would not be smaller';
    if (dataBytes >= tensorBytes(plain)) return tooLarge;
    const name = (part: string) => this.name(`${plain.name}/${part}`);
    const packed = packConstant(plain.name, type, shape, values, this.#unpackingNames(), name);
    return packedBytes(packed) < tensorBytes(plain) ? packed : tooLarge;
  }

  #unpackingNames(): UnpackingConstants {
    const name = (part: string) => this.name(`unpack/${part}`);
    this.#unpacking ??= {
      shifts: name('shifts'),
      two: name('two'),
      flat: name('flat'),
      start: name('start'),
      axis: name('axis'),
    };
    return this.#unpacking;
  }

  /** Adds a packed constant, and those of the shared tensors that it is the first to read. */
  #addPacked({ initializers, nodes }: PackedConstant): void {
    const read = new Set(nodes.flatMap(({ input }) => input));
    for (const tensor of unpackingTensors(this.#unpackingNames())) {
      if (!read.has(tensor.name) || this.#shared.has(tensor.name)) continue;
      this.#shared.add(tensor.name);
      this.#add(tensor);
    }
    for (const tensor of initializers) this.#add(tensor);
    this.nodes.push(...nodes);
  }

  /** As an initializer; before version 4 of the representation those had to be graph inputs, so as a Constant node. */
  #add(tensor: TensorProto): TensorProto {
    if (this.#model.irVersion >= 4) this.initializers.push(tensor);
    else
      this.nodes.push(
        makeNode({ opType: 'Constant', input: [], output: [tensor.name], attributes: { value: tensor } }),
      );
    return tensor;
  }
}

function packedBytes({ initializers, nodes }: PackedConstant): number {
  const nodeBytes = nodes.reduce((sum, node) => sum + toBinary(NodeProtoSchema, node).byteLength, 0);
  return initializers.reduce((sum, tensor) => sum + tensorBytes(tensor), nodeBytes);
}

function tensorBytes(tensor: TensorProto): number {
  return toBinary(TensorProtoSchema, tensor).byteLength;
}

function roundingError({ rawData }: TensorProto, type: FloatType, values: Float32Array): number {
  const rounded = decodeFloats(type, rawData);
  let [error, norm] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    error += ((rounded[i] as number) - value) ** 2;
    norm += value ** 2;
  }
  return norm === 0 ? 0 : Math.sqrt(error / norm);
}
