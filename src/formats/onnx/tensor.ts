import { create, isFieldSet } from '@bufbuild/protobuf';
import { DoubleSparseError } from '../../errors.js';
import { elementCount } from '../../linalg/element-count.js';
import { firstNonFinite } from '../../linalg/finite.js';
import { bytesPerFloat, decodeFloats, encodeFloats, type FloatType } from '../dtype.js';
import { malformed, unsupported } from './errors.js';
import { type ExternalFiles, externalRange } from './external-data.js';
import { type TensorProto, TensorProto_DataLocation, TensorProtoSchema } from './proto/onnx_pb.js';
import { elementTypeName, elementTypeOf, floatTypeOf, rawBytes } from './tensor-type.js';

/** More dimensions have no meaning for any operator, and serve only to make shapes expensive. */
const maximumDimensions = 64;

/**
 * Dimensions of a tensor, slowest first.
 * @throws DoubleSparseError `file-malformed` for a negative one, and for a product beyond 2^53.
 */
export function tensorShape({ name, dims }: TensorProto, path: string): number[] {
  if (dims.length > maximumDimensions)
    throw malformed(path, `${name} has ${dims.length} dimensions, more than ${maximumDimensions}`);
  const shape = dims.map(Number);
  // Zeros left out: [2^40, 2^40, 0] is no shape either.
  const size = shape.reduce((product, dimension) => product * Math.max(1, dimension), 1);
  if (!Number.isSafeInteger(size) || shape.some((dimension) => dimension < 0))
    throw malformed(path, `${name} has shape [${shape}]`);
  return shape;
}

/** Does its data lie in another file? */
export function isExternal(tensor: TensorProto): boolean {
  return tensor.dataLocation === TensorProto_DataLocation.EXTERNAL;
}

/** Where a tensor's data come from: the path of the model, for messages, and the files beside it. */
export interface TensorSource {
  readonly path: string;
  readonly external: ExternalFiles;
}

/**
 * Bytes of the data of a tensor stored raw or externally, undefined when its values lie in one of the typed fields.
 * @throws DoubleSparseError `file-malformed`, `file-unsupported` (an unknown element type of unknown length)
 */
export function rawTensorSize(tensor: TensorProto, { path }: TensorSource): number | undefined {
  if (!isExternal(tensor)) return hasRawData(tensor) ? tensor.rawData.byteLength : undefined;
  const size = rawBytes(tensor.dataType, elementCount(tensorShape(tensor, path))) ?? externalRange(tensor, path).length;
  if (size !== undefined) return size;
  const type = elementTypeName(tensor.dataType);
  throw unsupported(path, `${tensor.name} (${type}) has external data of unknown length`, 'save it in one file');
}

/**
 * The little-endian bytes of a tensor stored raw or externally; a view of the file where that is possible.
 * @returns undefined when its values lie in one of the typed fields.
 * @throws DoubleSparseError `file-malformed` when there are more or fewer bytes than the shape needs; those of
 *   {@link rawTensorSize} and {@link ExternalFiles.read}.
 */
export function rawTensorBytes(tensor: TensorProto, source: TensorSource): Uint8Array | undefined {
  const { path } = source;
  const size = rawTensorSize(tensor, source);
  if (size === undefined) return undefined;
  if (isExternal(tensor)) return source.external.read(externalRange(tensor, path), size, tensor.name);
  const expected = rawBytes(tensor.dataType, elementCount(tensorShape(tensor, path)));
  if (expected !== undefined && size !== expected)
    throw malformed(path, `${tensor.name} has ${size} bytes, its shape [${tensor.dims}] needs ${expected}`);
  return tensor.rawData;
}

function hasRawData(tensor: TensorProto): boolean {
  return isFieldSet(tensor, TensorProtoSchema.field.rawData);
}

/**
 * Values of a tensor of fp32, fp16, bf16 or double, as fp32, whichever field they are stored in.
 * @throws DoubleSparseError `shape-mismatch` for another element type, `file-malformed` when data and shape disagree;
 *   those of {@link ExternalFiles.read}.
 */
export function readFloatTensor(tensor: TensorProto, source: TensorSource): Float32Array {
  const { path } = source;
  const { name, dataType } = tensor;
  const type = floatTypeOf(dataType);
  if (type === undefined) {
    throw new DoubleSparseError('shape-mismatch', `${path}: ${name} is ${elementTypeName(dataType)}, not floats`, {
      data: { path, name, type: elementTypeName(dataType) },
    });
  }
  if (tensor.segment)
    throw unsupported(path, `${name} is stored in segments`, 'save the model again with the onnx package');
  const raw = rawTensorBytes(tensor, source);
  if (raw) return decodeFloats(type, raw);
  const count = elementCount(tensorShape(tensor, path));
  const field = type === 'F32' ? tensor.floatData : type === 'F64' ? tensor.doubleData : tensor.int32Data;
  if (field.length !== count)
    throw malformed(path, `${name} has ${field.length} values, its shape [${tensor.dims}] needs ${count}`);
  if (type === 'F32' || type === 'F64') return Float32Array.from(field);
  // onnx.proto: the bit pattern in the low 16 bits of each int32.
  return decodeFloats(type, new Uint8Array(Uint16Array.from(field).buffer));
}

/**
 * A tensor of floats stored raw, rounded to nearest.
 * @throws DoubleSparseError `non-finite-value` for a value that is NaN or infinite in `type`.
 */
export function floatTensor(
  name: string,
  type: FloatType,
  shape: readonly number[],
  values: Float32Array,
): TensorProto {
  if (values.length !== elementCount(shape)) {
    throw new DoubleSparseError('shape-mismatch', `${name}: ${values.length} values for shape [${shape}]`, {
      data: { name, values: values.length, shape },
    });
  }
  const bad = firstNonFinite(values);
  if (bad >= 0) {
    throw new DoubleSparseError('non-finite-value', `${name} holds ${values[bad]} at index ${bad}`, {
      data: { name, index: bad },
    });
  }
  const bytes = new Uint8Array(values.length * bytesPerFloat(type));
  if (type === 'F64') new Float64Array(bytes.buffer).set(values);
  else if (encodeFloats(type, values, bytes).overflowed > 0) {
    throw new DoubleSparseError('non-finite-value', `${name} has values beyond the range of ${type}`, {
      data: { name, type },
      hint: 'scale it down, or store it in fp32',
    });
  }
  return rawTensor(name, elementTypeOf(type), shape, bytes);
}

/** A tensor of any element type with a fixed size, from its little-endian bytes. */
export function rawTensor(name: string, dataType: number, shape: readonly number[], rawData: Uint8Array): TensorProto {
  return create(TensorProtoSchema, { name, dataType, dims: shape.map(BigInt), rawData });
}
