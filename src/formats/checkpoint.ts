import type { Matrix } from '../linalg/matrix.js';

/** A tensor of a checkpoint under its Hugging Face name. */
export interface CheckpointTensor {
  readonly name: string;
  /** Hugging Face order: [out, in] for a linear layer, [n] for a vector. */
  readonly shape: readonly number[];
  /** Type in the file: F32, F16, BF16, or a GGUF type such as Q4_1. */
  readonly dtype: string;
  /** Bytes that it takes in the file. */
  readonly bytes: number;
}

/** The tokenizer files of a checkpoint, as parsed JSON in Hugging Face form. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly tokenizer: unknown;
  /** tokenizer_config.json: special tokens, chat template. */
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * A model on disk, read tensor by tensor; the same for a safetensors folder (sharded or not), a GGUF file and a
 * compressed folder. Nothing but headers is in memory until it is asked for.
 */
export interface Checkpoint {
  /** Folder or file as the user named it. */
  readonly path: string;
  readonly format: 'safetensors' | 'gguf' | 'double-sparse';
  /** config.json, or its equivalent made from GGUF metadata. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /**
   * A tensor as fp32. One-dimensional tensors come as 1 x n.
   * @param allocate makes the matrix to fill; on the ordinary heap if absent.
   * @throws DoubleSparseError `unknown-name`, `shape-mismatch`, `file-malformed`
   */
  read(name: string, allocate?: (rows: number, columns: number) => Matrix): Matrix;
  /** @throws DoubleSparseError `file-unreadable` when the checkpoint has no tokenizer that we can use. */
  tokenizerFiles(): TokenizerFiles;
  close(): void;
}
