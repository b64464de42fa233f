import { DoubleSparseError } from '../errors.js';
import type { Checkpoint, CheckpointTensor } from './checkpoint.js';
import { CompressedCheckpoint } from './container/checkpoint.js';
import { planKept, writeKept } from './kept-tensor.js';
import { claimModelFolder, commitModelFolder } from './model-folder.js';
import { ShardedWriter } from './safetensors/sharded-writer.js';

export interface DenseOptions {
  /** Default 5 GB. */
  readonly maximumShardBytes?: number;
  /** Allows a folder that holds a model. Default false. */
  readonly replace?: boolean;
  /** Called before each tensor. */
  readonly onTensor?: (tensor: CheckpointTensor, index: number, total: number) => void;
}

/**
 * Writes any checkpoint as an ordinary Hugging Face folder: compressed weights expanded in the type of their values,
 * quantised ones in fp16, everything else as it is; one tensor in memory at a time.
 * @throws DoubleSparseError `file-exists`, `option-out-of-range`, `non-finite-value` when a value does not fit its
 *   type, `disk-full`, `file-unwritable`; those of the source.
 */
export function writeDenseCheckpoint(source: Checkpoint, folder: string, options: DenseOptions = {}): void {
  claimModelFolder(folder, source, options.replace ?? false);
  const tensors = [...source.tensors.values()];
  const groups = tensors.map((tensor) => ({ tensors: [planKept(tensor, source)] }));
  const { maximumShardBytes } = options;
  const writer = new ShardedWriter(folder, groups, maximumShardBytes === undefined ? {} : { maximumShardBytes });
  try {
    for (const [index, tensor] of tensors.entries()) {
      options.onTensor?.(tensor, index, tensors.length);
      if (source instanceof CompressedCheckpoint && source.compression.has(tensor.name)) {
        const { data } = source.read(tensor.name);
        const bad = data.findIndex((value) => !Number.isFinite(value));
        if (bad >= 0)
          throw new DoubleSparseError('non-finite-value', `${tensor.name} holds ${data[bad]}`, {
            data: { name: tensor.name },
          });
        writer.writeFloats(tensor.name, data);
      } else writeKept(tensor.name, source, writer);
    }
    const { quantization_config: _, ...config } = source.config;
    commitModelFolder(writer, source, source.format === 'double-sparse' ? config : source.config);
  } catch (error) {
    writer.abort();
    throw error;
  }
}
