import { DoubleSparseError } from '../../errors.js';
import type { Checkpoint } from '../../formats/checkpoint.js';
import { firstNonFinite } from '../../linalg/finite.js';
import type { Matrix } from '../../linalg/matrix.js';
import { sharedZeros } from '../../linalg/shared-matrix.js';
import type { LlamaConfig } from './config.js';
import {
  blockTensor,
  embeddingName,
  finalNormName,
  hasBias,
  headName,
  type LinearName,
  linearNames,
  linearShape,
} from './tensors.js';

/** A linear layer: weight out x in, bias 1 x out. */
interface LinearWeights {
  readonly weight: Matrix;
  readonly bias?: Matrix;
}

/**
 * The weights of one block, fp32 in shared memory; posting them to a thread copies nothing. All blocks of a model have
 * the same shapes, so the memory of one can be filled with the next (see {@link readBlock}).
 */
export interface BlockWeights {
  /** 1 x hiddenSize */
  readonly inputNorm: Matrix;
  /** 1 x hiddenSize */
  readonly postAttentionNorm: Matrix;
  /** 1 x headSize, where `queryKeyNorm`. */
  readonly queryNorm?: Matrix;
  readonly keyNorm?: Matrix;
  readonly linear: Readonly<Record<LinearName, LinearWeights>>;
}

/** Final norm and output projection. */
export interface HeadWeights {
  /** 1 x hiddenSize */
  readonly norm: Matrix;
  /** vocabularySize x hiddenSize */
  readonly projection: Matrix;
}

/** Zeroed room for the weights of a block. */
export function newBlockWeights(config: LlamaConfig): BlockWeights {
  const { hiddenSize, headSize } = config;
  const vector = (length: number): Matrix => sharedZeros(1, length);
  const linear = (name: LinearName): LinearWeights => {
    const [rows, columns] = linearShape(config, name);
    const weight = sharedZeros(rows, columns);
    return hasBias(config, name) ? { weight, bias: vector(rows) } : { weight };
  };
  return {
    inputNorm: vector(hiddenSize),
    postAttentionNorm: vector(hiddenSize),
    ...(config.queryKeyNorm && { queryNorm: vector(headSize), keyNorm: vector(headSize) }),
    linear: Object.fromEntries(linearNames.map((name) => [name, linear(name)])) as Record<LinearName, LinearWeights>,
  };
}

/** Bytes of {@link newBlockWeights}. */
export function blockBytes(config: LlamaConfig): number {
  return linearNames.reduce((sum, name) => {
    const [rows, columns] = linearShape(config, name);
    return sum + rows * columns * 4;
  }, 8 * config.hiddenSize);
}

/**
 * Reads the weights of block `layer`.
 * @param into filled and returned; made if absent.
 * @throws DoubleSparseError `non-finite-value` naming the tensor, and what {@link Checkpoint.read} throws
 */
export function readBlock(
  checkpoint: Checkpoint,
  config: LlamaConfig,
  layer: number,
  into: BlockWeights = newBlockWeights(config),
): BlockWeights {
  const read = (module: string, target: Matrix, kind: 'weight' | 'bias' = 'weight'): void =>
    readFinite(checkpoint, blockTensor(layer, module, kind), target);
  read('input_layernorm', into.inputNorm);
  read('post_attention_layernorm', into.postAttentionNorm);
  if (into.queryNorm) read('self_attn.q_norm', into.queryNorm);
  if (into.keyNorm) read('self_attn.k_norm', into.keyNorm);
  for (const name of linearNames) {
    const { weight, bias } = into.linear[name];
    read(name, weight);
    if (bias) read(name, bias, 'bias');
  }
  return into;
}

/**
 * The token embeddings, vocabularySize x hiddenSize, in shared memory.
 * @throws DoubleSparseError `non-finite-value`, and what {@link Checkpoint.read} throws
 */
export function readEmbedding(checkpoint: Checkpoint, config: LlamaConfig): Matrix {
  const target = sharedZeros(config.vocabularySize, config.hiddenSize);
  readFinite(checkpoint, embeddingName, target);
  return target;
}

/**
 * Final norm and head.
 * @param embedding where it is in memory already: a tied head is this very matrix.
 * @throws DoubleSparseError `non-finite-value`, `file-malformed` when a head that config.json calls tied was saved with
 * other values than the embeddings, and what {@link Checkpoint.read} throws
 */
export function readHead(checkpoint: Checkpoint, config: LlamaConfig, embedding?: Matrix): HeadWeights {
  const norm = sharedZeros(1, config.hiddenSize);
  readFinite(checkpoint, finalNormName, norm);
  if (config.tiedHead) {
    const projection = embedding ?? readEmbedding(checkpoint, config);
    if (checkpoint.tensors.has(headName)) checkTied(checkpoint, projection);
    return { norm, projection };
  }
  const projection = sharedZeros(config.vocabularySize, config.hiddenSize);
  readFinite(checkpoint, headName, projection);
  return { norm, projection };
}

function readFinite(checkpoint: Checkpoint, name: string, target: Matrix): void {
  checkpoint.read(name, (rows, columns) => {
    if (rows === target.rows && columns === target.columns) return target;
    throw new DoubleSparseError(
      'shape-mismatch',
      `${name} is ${rows}x${columns} instead of ${target.rows}x${target.columns}`,
      { data: { name, rows, columns } },
    );
  });
  const index = firstNonFinite(target.data);
  if (index < 0) return;
  const [row, column] = [Math.floor(index / target.columns), index % target.columns];
  throw new DoubleSparseError(
    'non-finite-value',
    `${checkpoint.path}: ${name} holds ${target.data[index]} at row ${row}, column ${column}`,
    { data: { path: checkpoint.path, name, row, column }, hint: 'the checkpoint is damaged; download it again' },
  );
}

function checkTied(checkpoint: Checkpoint, embedding: Matrix): void {
  const head = checkpoint.read(headName);
  if (head.data.length === embedding.data.length && head.data.every((value, i) => value === embedding.data[i])) return;
  throw new DoubleSparseError(
    'file-malformed',
    `${checkpoint.path}: config.json says tie_word_embeddings, but ${headName} differs from the embeddings`,
    {
      data: { path: checkpoint.path },
      hint: 'set "tie_word_embeddings": false in config.json if the model has a head of its own',
    },
  );
}
