import { DoubleSparseError } from '../errors.js';
import type { Checkpoint, CheckpointTensor } from './checkpoint.js';
import { CompressedCheckpoint } from './container/checkpoint.js';
import type { WritableFloatType } from './dtype.js';
import { SafetensorsCheckpoint } from './safetensors/checkpoint.js';
import type { PlannedTensor } from './safetensors/layout.js';
import type { ShardedWriter } from './safetensors/sharded-writer.js';

/** Bytes copied at a time. */
const chunkBytes = 1 << 22;

/** The type in which values of a source are stored: its own, fp16 for fp32 and quantised ones. */
export function valueTypeOf(sourceType: string): WritableFloatType {
  return sourceType === 'BF16' ? 'BF16' : 'F16';
}

/** How a tensor is stored that is not compressed: as it is, fp16 if it was quantised. */
export function planKept({ name, dtype, shape }: CheckpointTensor, source: Checkpoint): PlannedTensor {
  const kept = source.format !== 'gguf' || dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
  return { name, dtype: kept ? dtype : 'F16', shape };
}

/**
 * Writes a tensor of `source` as planned by {@link planKept}: byte for byte from safetensors.
 * @throws DoubleSparseError `non-finite-value` when a quantised one does not fit fp16; of reader and writer.
 */
export function writeKept(name: string, source: Checkpoint, writer: ShardedWriter): void {
  const stored = source instanceof CompressedCheckpoint ? source.stored : source;
  if (!(stored instanceof SafetensorsCheckpoint)) {
    writer.writeFloats(name, source.read(name).data);
    return;
  }
  const file = stored.file(name);
  const tensor = stored.tensors.get(name);
  if (!tensor) throw new DoubleSparseError('unknown-name', `${source.path} has no tensor ${name}`, { data: { name } });
  for (let from = 0; from < tensor.bytes; from += chunkBytes) {
    writer.writeBytes(name, file.readBytes(name, from, Math.min(chunkBytes, tensor.bytes - from)));
  }
}
