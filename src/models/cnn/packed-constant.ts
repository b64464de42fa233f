import type { FloatType } from '../../formats/dtype.js';
import { makeNode } from '../../formats/onnx/node.js';
import { type NodeProto, type TensorProto, TensorProto_DataType as Type } from '../../formats/onnx/proto/onnx_pb.js';
import { floatTensor, rawTensor } from '../../formats/onnx/tensor.js';
import { countNonzeros, matrix } from '../../linalg/matrix.js';

/** BitShift and CumSum came with it. */
export const oldestPackedOpset = 11;

/** onnxruntime since 1.27 computes no constant of more than 1 GB, and positions have four bytes. */
export const maximumPackedSize = 2 ** 28;

/** Names of the initializers that the unpacking of all weights shares. */
export interface UnpackingConstants {
  /** 0, 1, … 7. */
  readonly shifts: string;
  readonly two: string;
  /** The shape [-1]. */
  readonly flat: string;
  /** [0] */
  readonly start: string;
  /** 0 without dimensions. */
  readonly axis: string;
}

/** The tensors of those names. */
export function unpackingTensors({ shifts, two, flat, start, axis }: UnpackingConstants): TensorProto[] {
  return [
    rawTensor(shifts, Type.UINT8, [8], Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7)),
    rawTensor(two, Type.UINT8, [], Uint8Array.of(2)),
    integers(flat, [1], [-1]),
    integers(start, [1], [0]),
    integers(axis, [], [0]),
  ];
}

/** A tensor as its nonzeros, and the standard operators that make it from them. */
export interface PackedConstant {
  readonly initializers: readonly TensorProto[];
  /** The last one makes the tensor, in the type of the values. */
  readonly nodes: readonly NodeProto[];
}

/**
 * Packs the nonzeros of a tensor with a bitmask: bit i mod 8 (least significant is 0) of byte i div 8 is element i.
 *
 * Unpacked, element i is values[p_i b_i], where b_i is its bit, p_i = b_0 + … + b_i, and values[0] = 0. All shapes on
 * the way are fixed, as onnxruntime since 1.27 demands of what it computes once, when it loads a model (a NonZero or
 * Compress would be run again for every input).
 * @param output name of the unpacked tensor.
 * @param name gives the names of tensors in between.
 * @throws DoubleSparseError `non-finite-value` for values that are infinite in `type`.
 */
export function packConstant(
  output: string,
  type: FloatType,
  shape: readonly number[],
  values: Float32Array,
  constants: UnpackingConstants,
  name: (part: string) => string,
): PackedConstant {
  const size = values.length;
  const mask = new Uint8Array(Math.ceil(size / 8));
  const nonzeros = new Float32Array(1 + countNonzeros(matrix(1, size, values)));
  for (let i = 0, next = 1; i < size; i++) {
    const value = values[i] as number;
    if (value === 0) continue;
    nonzeros[next++] = value;
    mask[i >> 3] = (mask[i >> 3] as number) | (1 << (i & 7));
  }
  const names = { mask: name('mask'), values: name('values'), shape: name('shape') };
  const initializers = [
    rawTensor(names.mask, Type.UINT8, [mask.length, 1], mask),
    floatTensor(names.values, type, [nonzeros.length], nonzeros),
    integers(names.shape, [shape.length], shape),
  ];
  const nodes: NodeProto[] = [];
  const compute = (
    opType: string,
    input: readonly string[],
    result: string,
    attributes: Record<string, number | string> = {},
  ) => {
    nodes.push(makeNode({ opType, input, output: [result], attributes }));
    return result;
  };
  const shifted = compute('BitShift', [names.mask, constants.shifts], name('shifted'), { direction: 'RIGHT' });
  const bits = compute('Mod', [shifted, constants.two], name('bits'));
  const integerBits = compute('Cast', [bits], name('integers'), { to: Type.INT32 });
  let flat = compute('Reshape', [integerBits, constants.flat], name('flat'));
  if (size % 8 !== 0) {
    const end = integers(name('size'), [1], [size]);
    initializers.push(end);
    flat = compute('Slice', [flat, constants.start, end.name], name('cut'));
  }
  const counts = compute('CumSum', [flat, constants.axis], name('counts'));
  const positions = compute('Mul', [counts, flat], name('positions'));
  const shaped = compute('Reshape', [positions, names.shape], name('shaped'));
  compute('Gather', [names.values, shaped], output);
  return { initializers, nodes };
}

function integers(name: string, shape: readonly number[], values: readonly number[]): TensorProto {
  return rawTensor(name, Type.INT64, shape, new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer));
}
