import type { FloatType } from '../dtype.js';
import { TensorProto_DataType as Type } from './proto/onnx_pb.js';

const floatTypes: ReadonlyMap<number, FloatType> = new Map([
  [Type.FLOAT, 'F32'],
  [Type.FLOAT16, 'F16'],
  [Type.BFLOAT16, 'BF16'],
  [Type.DOUBLE, 'F64'],
]);

/** Bits of one element; types that are not here (strings) have no fixed size. */
const elementBits: ReadonlyMap<number, number> = new Map(
  (
    [
      [2, [Type.UINT2, Type.INT2]],
      [4, [Type.UINT4, Type.INT4, Type.FLOAT4E2M1]],
      [8, [Type.UINT8, Type.INT8, Type.BOOL]],
      [8, [Type.FLOAT8E4M3FN, Type.FLOAT8E4M3FNUZ, Type.FLOAT8E5M2, Type.FLOAT8E5M2FNUZ, Type.FLOAT8E8M0]],
      [16, [Type.UINT16, Type.INT16, Type.FLOAT16, Type.BFLOAT16]],
      [32, [Type.FLOAT, Type.INT32, Type.UINT32]],
      [64, [Type.DOUBLE, Type.INT64, Type.UINT64, Type.COMPLEX64]],
      [128, [Type.COMPLEX128]],
    ] as const
  ).flatMap(([bits, types]) => types.map((type) => [type, bits])),
);

/** The float type that an ONNX element type is, undefined for all others. */
export function floatTypeOf(dataType: number): FloatType | undefined {
  return floatTypes.get(dataType);
}

/** The ONNX element type of a float type. */
export function elementTypeOf(type: FloatType): Type {
  for (const [dataType, name] of floatTypes) if (name === type) return dataType;
  throw new Error(`no element type for ${type}`);
}

/** The name of an element type in onnx.proto, for messages. */
export function elementTypeName(dataType: number): string {
  return Type[dataType] ?? `element type ${dataType}`;
}

/** Bytes of `count` elements stored raw, undefined for types without a fixed size. */
export function rawBytes(dataType: number, count: number): number | undefined {
  const bits = elementBits.get(dataType);
  return bits === undefined ? undefined : Math.ceil((count * bits) / 8);
}
