import { readFileSync, rmSync } from 'node:fs';
import { DoubleSparseError } from '../../errors.js';
import type { FloatType } from '../../formats/dtype.js';
import { newPart, type OnnxModel } from '../../formats/onnx/model.js';
import type { TensorProto } from '../../formats/onnx/proto/onnx_pb.js';
import { floatTensor, rawTensorBytes, tensorShape } from '../../formats/onnx/tensor.js';
import { floatTypeOf } from '../../formats/onnx/tensor-type.js';
import { serializeOnnx, writeOnnx } from '../../formats/onnx/writer.js';
import type { PackedTensors } from '../../models/cnn/unpack-constants.js';
import type { StoredTensor } from './graph-weights.js';

/**
 * The model with other values in its trained tensors, rounded to their types: nodes, names, shapes, bitmasks and all
 * other tensors as they are.
 * @param packed of weights that lie in the file as nonzeros and bitmask.
 * @throws DoubleSparseError `non-finite-value`, `verification-failed` when a bitmask is not that of the values,
 *   `file-unsupported` for tensors that are no initializers
 */
export function withValues(
  model: OnnxModel,
  values: Float32Array,
  stored: readonly StoredTensor[],
  packed: ReadonlyMap<string, PackedTensors>,
): OnnxModel {
  const initializers = new Map(model.initializers);
  const replace = (tensor: TensorProto, entries: Float32Array): void => {
    if (!initializers.has(tensor.name)) {
      throw new DoubleSparseError(
        'file-unsupported',
        `${model.path}: ${tensor.name} is a Constant node, no initializer`,
        {
          data: { path: model.path, name: tensor.name },
          hint: 'convert the model to version 4 or newer of the ONNX representation',
        },
      );
    }
    const type = floatTypeOf(tensor.dataType) as FloatType;
    initializers.set(tensor.name, newPart(floatTensor(tensor.name, type, tensorShape(tensor, model.path), entries)));
  };
  for (const { constant, offset, places } of stored) {
    const own = values.subarray(offset, offset + places.length);
    const origin = packed.get(constant.name);
    if (origin) {
      checkSupport(model, constant.name, origin, places);
      const entries = new Float32Array(1 + own.length);
      entries.set(own, 1);
      replace(origin.values, entries);
    } else {
      const entries = new Float32Array(constant.shape.reduce((product, size) => product * size, 1));
      for (const [i, place] of places.entries()) entries[place] = own[i] as number;
      replace(constant.tensor, entries);
    }
  }
  return model.edited({ initializers });
}

/** Writes the model and reads it back. @throws DoubleSparseError `verification-failed`; of {@link writeOnnx} */
export function writeVerified(model: OnnxModel, out: string): void {
  const expected = serializeOnnx(model);
  if (writeOnnx(model, out) === expected.byteLength && Buffer.compare(readFileSync(out), expected) === 0) return;
  rmSync(out, { force: true });
  throw new DoubleSparseError('verification-failed', `${out} was read back with other bytes than were written`, {
    data: { path: out },
    hint: 'is the disk failing? The run folder still holds the last checkpoint: write to another disk',
  });
}

function checkSupport(model: OnnxModel, name: string, { mask }: PackedTensors, places: Uint32Array): void {
  const bits = rawTensorBytes(mask, model) ?? new Uint8Array();
  const set = bits.reduce((sum, byte) => sum + countBits(byte), 0);
  const within = places.every((place) => (((bits[place >> 3] as number) >> (place & 7)) & 1) === 1);
  if (set === places.length && within) return;
  throw new DoubleSparseError(
    'verification-failed',
    `${model.path}: the support of ${name} is not that of its values`,
    {
      data: { path: model.path, name, positions: set, values: places.length },
      hint: 'a value of its support is zero: export the model again',
    },
  );
}

function countBits(byte: number): number {
  let count = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
  return count;
}
