import { DoubleSparseError } from '../../errors.js';
import { type Matrix, zeros } from '../../linalg/matrix.js';
import type { Checkpoint, CheckpointTensor, TokenizerFiles } from '../checkpoint.js';
import { decodeFloats, encodeFloats } from '../dtype.js';
import { PositionalFile } from '../positional-file.js';
import { configFromMetadata, familyOf } from './config.js';
import { Fields } from './fields.js';
import { type GgufHeader, type GgufTensor, readGgufHeader } from './header.js';
import { huggingFaceName } from './names.js';
import { tokenizerFromMetadata } from './tokenizer.js';

/** Values decoded at a time: bounds the scratch memory of a conversion. */
const chunkValues = 1 << 20;

interface Source extends CheckpointTensor {
  readonly source: GgufTensor;
  /** Heads of a q or k projection whose rows the converter reordered, 0 for others. */
  readonly permutedHeads: number;
}

/** A GGUF model of the LLaMA family: tensors under their Hugging Face names, dequantised when read. */
export class GgufCheckpoint implements Checkpoint {
  readonly format = 'gguf';
  readonly path: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, Source>;
  readonly #file: PositionalFile;
  readonly #header: GgufHeader;
  readonly #fields: Fields;

  /**
   * Reads the header, no tensor.
   * @throws DoubleSparseError `file-unreadable`, `file-malformed`, `file-unsupported` (tensor types, architectures,
   *   tensors without a Hugging Face name)
   */
  constructor(path: string) {
    this.path = path;
    this.#file = new PositionalFile(path);
    try {
      this.#header = readGgufHeader(this.#file);
      this.#fields = new Fields(path, this.#header.metadata);
      const table = this.#header.tensors.get('rope_freqs.weight');
      this.config = configFromMetadata(this.#fields, this.#header.tensors, table && this.#decode(table, zeros, 0).data);
      this.tensors = this.#mapTensors();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  read(name: string, allocate: (rows: number, columns: number) => Matrix = zeros): Matrix {
    const tensor = this.tensors.get(name);
    if (!tensor) {
      throw new DoubleSparseError('unknown-name', `${this.path} has no tensor ${name}`, {
        data: { path: this.path, name },
      });
    }
    if (tensor.shape.length > 2) {
      throw new DoubleSparseError('shape-mismatch', `${this.path}: ${name} has shape [${tensor.shape}], not a matrix`, {
        data: { path: this.path, name, shape: tensor.shape },
      });
    }
    return this.#decode(tensor.source, allocate, tensor.permutedHeads);
  }

  tokenizerFiles(): TokenizerFiles {
    return tokenizerFromMetadata(this.#fields);
  }

  close(): void {
    this.#file.close();
  }

  #mapTensors(): Map<string, Source> {
    const { permuted } = familyOf(this.#fields);
    const heads: Readonly<Record<string, unknown>> = {
      q_proj: this.config.num_attention_heads,
      k_proj: this.config.num_key_value_heads,
    };
    const tensors = new Map<string, Source>();
    for (const source of this.#header.tensors.values()) {
      const name = huggingFaceName(source.name);
      if (name === null) continue;
      if (name === undefined) {
        throw this.#fields.unsupported(
          `the tensor ${source.name} has no place in a model of the LLaMA family`,
          'fused projections, mixtures of experts and adapters are not read',
        );
      }
      const projection = /self_attn\.([qk]_proj)\./.exec(name)?.[1];
      const permutedHeads = permuted && projection ? (heads[projection] as number) : 0;
      if (permutedHeads > 0 && (source.shape[0] as number) % (2 * permutedHeads) !== 0)
        throw this.#fields.malformed(`${source.name} has ${source.shape[0]} rows for ${permutedHeads} heads`);
      const { shape, type, begin, end } = source;
      tensors.set(name, { name, shape, dtype: type.name, bytes: end - begin, source, permutedHeads });
    }
    return tensors;
  }

  #decode(
    { shape, type, begin }: GgufTensor,
    allocate: (rows: number, columns: number) => Matrix,
    permutedHeads: number,
  ): Matrix {
    const columns = shape.at(-1) as number;
    const rows = shape.length === 2 ? (shape[0] as number) : 1;
    const result = allocate(rows, columns);
    const { data } = result;
    const atOnce = Math.min(data.length, Math.max(1, Math.floor(chunkValues / type.values)) * type.values);
    const buffer = new Uint8Array((atOnce / type.values) * type.bytes);
    for (let from = 0; from < data.length; from += atOnce) {
      const count = Math.min(atOnce, data.length - from);
      const chunk = buffer.subarray(0, (count / type.values) * type.bytes);
      this.#file.readFully(chunk, begin + (from / type.values) * type.bytes);
      type.decode(chunk, data.subarray(from, from + count));
    }
    if (type.values > 1) roundToHalf(data);
    if (permutedHeads > 0) unpermute(data, permutedHeads, shape.length === 1 ? 1 : columns);
    return result;
  }
}

/**
 * Undoes `permute` of llama.cpp's convert_hf_to_gguf.py in place: row 2 i + b of a head there is row b (n/2) + i in
 * Hugging Face (n rows a head, b 0 or 1), where rotary position embedding pairs dimension i with n/2 + i.
 * @param width values a row: columns of a matrix, 1 for a bias.
 */
function unpermute(data: Float32Array, heads: number, width: number): void {
  const rows = data.length / width / heads;
  const copy = new Float32Array(rows * width);
  for (let head = 0; head < heads; head++) {
    const part = data.subarray(head * rows * width, (head + 1) * rows * width);
    copy.set(part);
    for (let row = 0; row < rows; row++) {
      const target = (row & 1) * (rows / 2) + (row >> 1);
      part.set(copy.subarray(row * width, (row + 1) * width), target * width);
    }
  }
}

/**
 * Quantised values as every consumer stores them: fp16. A tensor with values beyond its range stays as it is.
 * Reading a GGUF file and reading what was exported from it then give the same numbers.
 */
function roundToHalf(data: Float32Array): void {
  for (let i = 0; i < data.length; i++) if (Math.abs(data[i] as number) > largestHalf) return;
  const buffer = new Uint8Array(2 * Math.min(data.length, chunkValues));
  for (let from = 0; from < data.length; from += chunkValues) {
    const part = data.subarray(from, from + chunkValues);
    const bytes = buffer.subarray(0, 2 * part.length);
    encodeFloats('F16', part, bytes);
    decodeFloats('F16', bytes, part);
  }
}

/** The largest finite fp16 number. */
const largestHalf = 65_504;
