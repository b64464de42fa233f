import { maskStride } from '../formats/container/bitmask.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import type { PackedFactor } from '../formats/container/packed-factor.js';
import { decodeFloats } from '../formats/dtype.js';
import { countNonzeros, type Matrix } from '../linalg/matrix.js';
import type { LlamaModel } from '../models/llama/model.js';
import { rotaryTable } from '../models/llama/rope.js';
import { blockTensor, embeddingName, finalNormName, headName, linearNames } from '../models/llama/tensors.js';
import { type BlockWeights, newBlockWeights } from '../models/llama/weights.js';
import type { TrainedBlock } from '../training/block.js';
import { FlatValues } from '../training/flat-values.js';
import type { Weight } from '../training/operations/context.js';
import type { LinearLayer } from '../training/operations/linear.js';
import type { Parameter, Segment } from '../training/parameter.js';
import { segmentRows } from '../training/segment-rows.js';
import { nonzeroPositions } from '../training/support.js';
import type { FinetuneOptions } from './finetune-options.js';
import type { TrainedModel } from './language-model.js';

/** Where the values of a stored tensor are in the flat arrays: what is written at the end. */
export interface StoredValues {
  /** Name of a tensor in the source's files: NAME.A.values of a factor, or a plain tensor. */
  readonly tensor: string;
  readonly offset: number;
  readonly count: number;
  /** Of a plain tensor of which only these positions are trained; the others are zero. */
  readonly positions?: Uint32Array;
  /** Entries of the tensor, zeros included. */
  readonly size: number;
}

/** Linear layers' matrices that are stored dense and are sparse: at least a tenth of their entries is zero. */
export interface SparseMatrices {
  readonly matrices: number;
  readonly zeros: number;
  readonly entries: number;
}

/** Part of a matrix that must be zero for its zeros to count as pruned: trained values are hardly ever zero by chance. */
const sparseFrom = 0.1;

/** A model made ready for training. */
export interface Trainee {
  readonly model: TrainedModel;
  /** All trained values, in shared memory. */
  readonly values: Float32Array;
  readonly stored: readonly StoredValues[];
  readonly parameters: readonly Parameter[];
  /** Of the trained matrices; with `keepZeros` their zeros are not trained. */
  readonly sparse: SparseMatrices;
}

/**
 * Reads a model of the LLaMA family, dense or compressed, into shared memory and finds what is to be trained. Supports of
 * factors are fixed; with `keepZeros` so are those of matrices that are stored dense and are sparse.
 * @throws DoubleSparseError of the checkpoint's reads
 */
export function collectParameters(
  model: LlamaModel,
  seqLen: number,
  { train, keepZeros }: Pick<FinetuneOptions, 'train' | 'keepZeros'>,
): Trainee {
  const { config, checkpoint } = model;
  const collector = new Collector(checkpoint instanceof CompressedCheckpoint ? checkpoint : undefined, keepZeros);
  const wanted = new Set<string>(train);
  const plain = (kind: string, name: string, value: Matrix): Weight =>
    wanted.has(kind) ? collector.plain(name, value, false) : { value };
  const blocks = Array.from({ length: config.layers }, (_, layer): TrainedBlock => {
    const weights: BlockWeights = model.readBlock(layer, newBlockWeights(config));
    const { inputNorm, postAttentionNorm, queryNorm, keyNorm } = weights;
    const linear = linearNames.map((name): [string, LinearLayer] => {
      const { weight, bias } = weights.linear[name];
      return [
        name,
        {
          weight: wanted.has('linear') ? collector.matrix(blockTensor(layer, name), weight) : { value: weight },
          ...(bias && { bias: plain('biases', blockTensor(layer, name, 'bias'), bias) }),
        },
      ];
    });
    return {
      inputNorm: plain('norms', blockTensor(layer, 'input_layernorm'), inputNorm),
      postAttentionNorm: plain('norms', blockTensor(layer, 'post_attention_layernorm'), postAttentionNorm),
      ...(queryNorm && { queryNorm: plain('norms', blockTensor(layer, 'self_attn.q_norm'), queryNorm) }),
      ...(keyNorm && { keyNorm: plain('norms', blockTensor(layer, 'self_attn.k_norm'), keyNorm) }),
      linear: Object.fromEntries(linear) as TrainedBlock['linear'],
    };
  });
  const embedding = model.readEmbedding();
  const { norm, projection } = model.readHead(embedding);
  const trainedEmbedding = plain('embeddings', embeddingName, embedding);
  if (config.tiedHead && trainedEmbedding.parameter && checkpoint.tensors.has(headName))
    collector.repeat(embeddingName, headName);
  return {
    model: {
      config,
      rotary: rotaryTable(config.rope, config.headSize, seqLen),
      embedding: trainedEmbedding,
      blocks,
      finalNorm: plain('norms', finalNormName, norm),
      head: projection === embedding ? trainedEmbedding : plain('embeddings', headName, projection),
    },
    ...collector.finish(),
  };
}

/** Gives every trained tensor its place in the flat arrays. */
class Collector {
  readonly #source: CompressedCheckpoint | undefined;
  readonly #keepZeros: boolean;
  readonly #values = new FlatValues();
  readonly #stored: StoredValues[] = [];
  readonly #parameters: Parameter[] = [];
  /** Factors of products that were met: all of A, and B. */
  readonly #factors = new Map<string, Segment[]>();
  #sparse: SparseMatrices = { matrices: 0, zeros: 0, entries: 0 };

  constructor(source: CompressedCheckpoint | undefined, keepZeros: boolean) {
    this.#source = source;
    this.#keepZeros = keepZeros;
  }

  /** A linear layer's weight: a product, a sparse matrix, or a dense one. */
  matrix(name: string, value: Matrix): Weight {
    const product =
      this.#source &&
      [...this.#source.products.values()].find((each) => each.members.some(({ weight }) => weight === name));
    if (!product) return this.plain(name, value, true);
    const [a, b] = this.#product(product.name) as [Segment, Segment | undefined];
    let row = 0;
    for (const member of product.members) {
      if (member.weight === name) {
        const rows = segmentRows(a, row, member.rows);
        return this.#add(value, b ? [rows, b] : [rows]);
      }
      row += member.rows;
    }
    return { value };
  }

  /** A tensor stored as it is. @param isMatrix of a linear layer: with `keepZeros` its zeros may be fixed. */
  plain(name: string, value: Matrix, isMatrix: boolean): Weight {
    const { rows, columns, data } = value;
    const positions = isMatrix && this.#countSparse(value) && this.#keepZeros ? nonzeroPositions(data) : undefined;
    const kept = positions ? Float32Array.from(positions, (position) => data[position] as number) : data;
    const offset = this.#values.append(kept);
    this.#stored.push({ tensor: name, offset, count: kept.length, size: data.length, ...(positions && { positions }) });
    return this.#add(value, [{ rows, columns, offset, count: kept.length, ...(positions && { positions }) }]);
  }

  /** A tensor that is saved a second time under another name. */
  repeat(name: string, again: string): void {
    const first = this.#stored.find(({ tensor }) => tensor === name);
    if (first) this.#stored.push({ ...first, tensor: again });
  }

  finish(): Pick<Trainee, 'values' | 'stored' | 'parameters' | 'sparse'> {
    return { values: this.#values.shared(), stored: this.#stored, parameters: this.#parameters, sparse: this.#sparse };
  }

  /** Is the matrix sparse? Then it is counted. */
  #countSparse(value: Matrix): boolean {
    const entries = value.data.length;
    const own = entries - countNonzeros(value);
    if (own < sparseFrom * entries) return false;
    const { matrices, zeros, entries: before } = this.#sparse;
    this.#sparse = { matrices: matrices + 1, zeros: zeros + own, entries: before + entries };
    return true;
  }

  #add(value: Matrix, factors: Parameter['factors']): Weight {
    const parameter: Parameter = { target: value, factors };
    this.#parameters.push(parameter);
    return { value, parameter };
  }

  #product(name: string): Segment[] {
    const known = this.#factors.get(name);
    if (known) return known;
    const segments = (this.#source as CompressedCheckpoint).readProduct(name).map((factor, index): Segment => {
      const values = decodeFloats(factor.dtype, factor.values);
      const offset = this.#values.append(values);
      const tensor = `${name}.${index === 0 ? 'A' : 'B'}.values`;
      this.#stored.push({ tensor, offset, count: values.length, size: values.length });
      return {
        rows: factor.rows,
        columns: factor.columns,
        offset,
        count: values.length,
        positions: positionsOf(factor, values.length),
      };
    });
    this.#factors.set(name, segments);
    return segments;
  }
}

/** Row-major positions of the support. @param count of its entries. */
function positionsOf({ rows, columns, bitmask }: PackedFactor, count: number): Uint32Array {
  const stride = maskStride(columns);
  const positions = new Uint32Array(new SharedArrayBuffer(4 * count));
  let next = 0;
  for (let row = 0; row < rows; row++) {
    for (let byte = 0; byte < stride; byte++) {
      for (let bits = bitmask[row * stride + byte] as number; bits !== 0; bits &= bits - 1) {
        positions[next++] = row * columns + byte * 8 + 31 - Math.clz32(bits & -bits);
      }
    }
  }
  return positions;
}
