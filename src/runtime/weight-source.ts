import { DoubleSparseError } from '../errors.js';
import type { Checkpoint } from '../formats/checkpoint.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { areFinite, bytesPerFloat, encodeFloats, type WritableFloatType } from '../formats/dtype.js';
import { SafetensorsCheckpoint } from '../formats/safetensors/checkpoint.js';
import { firstNonFinite } from '../linalg/finite.js';
import type { Matrix } from '../linalg/matrix.js';
import type { RuntimeMemory } from './runtime-memory.js';
import type { DenseMatrix } from './stored-matrix.js';

const largestHalf = 65_504;

/** The type in which a dense tensor is kept: its own; fp16 for a quantised one, fp32 for fp64. */
export function keptType(dtype: string): WritableFloatType {
  if (dtype === 'BF16' || dtype === 'F32') return dtype;
  return dtype === 'F64' ? 'F32' : 'F16';
}

/**
 * A dense matrix in the runtime's memory: the very bytes of a safetensors file, or encoded again.
 * @throws DoubleSparseError `non-finite-value`, and of the reader
 */
export function placeDense(memory: RuntimeMemory, checkpoint: Checkpoint, name: string): DenseMatrix {
  const tensor = checkpoint.tensors.get(name);
  const stored = checkpoint instanceof CompressedCheckpoint ? checkpoint.stored : checkpoint;
  if (!tensor || !(stored instanceof SafetensorsCheckpoint) || tensor.dtype === 'F64' || !stored.tensors.has(name)) {
    return placeEncoded(memory, checkpoint.read(name), keptType(tensor?.dtype ?? ''), name);
  }
  const [rows, columns] = tensor.shape as [number, number];
  const type = keptType(tensor.dtype);
  const values = memory.allocate(tensor.bytes);
  const bytes = memory.bytes(values, tensor.bytes);
  stored.file(name).readInto(name, bytes);
  requireFinite(bytes, type, name);
  return { kind: 'dense', rows, columns, type, values };
}

/** A matrix in the runtime's memory in a type; in fp32 if it does not fit. @throws DoubleSparseError `non-finite-value` */
export function placeEncoded(
  memory: RuntimeMemory,
  { rows, columns, data }: Matrix,
  type: WritableFloatType,
  name: string,
): DenseMatrix {
  if (firstNonFinite(data) >= 0) throw nonFinite(name);
  const fits = type !== 'F16' || data.every((value) => Math.abs(value) <= largestHalf);
  const used = fits ? type : 'F32';
  const bytes = data.length * bytesPerFloat(used);
  const values = memory.allocate(bytes);
  encodeFloats(used, data, memory.bytes(values, bytes));
  return { kind: 'dense', rows, columns, type: used, values };
}

/** A vector as fp32, followed by zeros. Returns its address. */
export function placeVector(memory: RuntimeMemory, checkpoint: Checkpoint, name: string): number {
  const { data } = checkpoint.read(name);
  if (firstNonFinite(data) >= 0) throw nonFinite(name);
  const address = memory.allocate(4 * data.length);
  memory.floats(address, data.length).set(data);
  return address;
}

/** @throws DoubleSparseError `non-finite-value` for NaN and infinity among encoded floats */
export function requireFinite(bytes: Uint8Array, type: WritableFloatType, name: string): void {
  if (!areFinite(type, bytes)) throw nonFinite(name);
}

function nonFinite(name: string): DoubleSparseError {
  return new DoubleSparseError('non-finite-value', `${name} holds a value that is not finite`, {
    data: { name },
    hint: 'the model is damaged; make or download it again',
  });
}
