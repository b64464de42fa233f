import { DoubleSparseError } from '../../errors.js';
import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import { attend } from './attention.js';
import type { LlamaConfig } from './config.js';
import type { LlamaKernels } from './kernels.js';
import type { RotaryTable } from './rope.js';
import type { LinearGroup, LinearName } from './tensors.js';
import { llamaKernels } from './wasm-kernels.js';
import type { BlockWeights } from './weights.js';

/**
 * Receives the inputs of a linear group, positions x in. The matrix is scratch: it is overwritten after the call.
 */
export type InputListener = (group: LinearGroup, inputs: Matrix) => void;

export interface BlockForwardOptions {
  /** Called once for each linear group, in the order of computation, before the group is computed. */
  readonly onInput?: InputListener;
  /** Stop after `onInput` has had this group's inputs; `hidden` is not the block's output then. */
  readonly until?: LinearGroup;
}

/** One transformer block: attention and MLP, each behind an RMSNorm and added to its input. */
export class Block {
  readonly #compute: Compute;
  readonly #config: LlamaConfig;
  readonly #layer: number;
  readonly #weights: BlockWeights;
  readonly #kernels: LlamaKernels;

  /**
   * @param layer index of the block (for its attention window).
   * @param weights kept by reference: another block's values may be read into them between calls.
   */
  constructor(
    compute: Compute,
    config: LlamaConfig,
    layer: number,
    weights: BlockWeights,
    kernels: LlamaKernels = llamaKernels(compute),
  ) {
    this.#compute = compute;
    this.#config = config;
    this.#layer = layer;
    this.#weights = weights;
    this.#kernels = kernels;
  }

  /**
   * The block's output in place of its input, for one sequence from position 0 on.
   * @param hidden positions x hiddenSize; fastest in the arena of `compute`.
   * @param rotary for at least as many positions.
   * @throws DoubleSparseError `shape-mismatch`
   */
  forward(hidden: Matrix, rotary: RotaryTable, { onInput, until }: BlockForwardOptions = {}): void {
    const { hiddenSize } = this.#config;
    if (hidden.columns !== hiddenSize || hidden.rows > rotary.cosines.rows) {
      throw new DoubleSparseError(
        'shape-mismatch',
        `hidden states of ${hidden.rows}x${hidden.columns} for a model of width ${hiddenSize} and rotary tables of ${rotary.cosines.rows} positions`,
        { data: { rows: hidden.rows, columns: hidden.columns, hiddenSize, positions: rotary.cosines.rows } },
      );
    }
    if (hidden.rows === 0) return;
    const done = this.#compute.scope(() => this.#attention(hidden, rotary, onInput, until));
    if (!done) this.#compute.scope(() => this.#mlp(hidden, onInput, until));
  }

  /** Returns whether `until` was reached. */
  #attention(hidden: Matrix, rotary: RotaryTable, onInput?: InputListener, until?: LinearGroup): boolean {
    const { heads, keyValueHeads, headSize, normEpsilon, windows } = this.#config;
    const { inputNorm, queryNorm, keyNorm } = this.#weights;
    const compute = this.#compute;
    const kernels = this.#kernels;
    const positions = hidden.rows;
    const normed = compute.matrix(positions, hidden.columns);
    kernels.rmsNorm(normed.data, hidden.data, inputNorm.data, normEpsilon);
    onInput?.('qkv', normed);
    if (until === 'qkv') return true;
    const queries = this.#project('self_attn.q_proj', normed);
    const keys = this.#project('self_attn.k_proj', normed);
    const values = this.#project('self_attn.v_proj', normed);
    if (queryNorm) kernels.rmsNorm(queries.data, queries.data, queryNorm.data, normEpsilon);
    if (keyNorm) kernels.rmsNorm(keys.data, keys.data, keyNorm.data, normEpsilon);
    kernels.rotate(queries.data, heads, headSize, rotary.cosines.data, rotary.sines.data);
    kernels.rotate(keys.data, keyValueHeads, headSize, rotary.cosines.data, rotary.sines.data);
    const mixed = compute.matrix(positions, heads * headSize);
    const window = windows[this.#layer] ?? null;
    attend(compute, kernels, { heads, keyValueHeads, headSize, window }, queries, keys, values, mixed);
    onInput?.('output', mixed);
    if (until === 'output') return true;
    this.#add('self_attn.o_proj', mixed, hidden);
    return false;
  }

  #mlp(hidden: Matrix, onInput?: InputListener, until?: LinearGroup): void {
    const compute = this.#compute;
    const normed = compute.matrix(hidden.rows, hidden.columns);
    this.#kernels.rmsNorm(normed.data, hidden.data, this.#weights.postAttentionNorm.data, this.#config.normEpsilon);
    onInput?.('gateUp', normed);
    if (until === 'gateUp') return;
    const gate = this.#project('mlp.gate_proj', normed);
    const up = this.#project('mlp.up_proj', normed);
    this.#kernels.siluMultiply(gate.data, up.data);
    onInput?.('down', gate);
    if (until === 'down') return;
    this.#add('mlp.down_proj', gate, hidden);
  }

  /** inputs * W^T + bias, in the arena. */
  #project(name: LinearName, inputs: Matrix): Matrix {
    const { weight, bias } = this.#weights.linear[name];
    const result = this.#compute.matrix(inputs.rows, weight.rows);
    if (bias) for (let row = 0; row < result.rows; row++) result.data.set(bias.data, row * result.columns);
    this.#compute.gemm(inputs, weight, result, { transposeB: true, beta: bias ? 1 : 0 });
    return result;
  }

  /** hidden += inputs * W^T + bias. */
  #add(name: LinearName, inputs: Matrix, hidden: Matrix): void {
    const { weight, bias } = this.#weights.linear[name];
    if (bias) {
      for (let at = 0; at < hidden.data.length; ) {
        for (let j = 0; j < hidden.columns; j++, at++) {
          hidden.data[at] = (hidden.data[at] as number) + (bias.data[j] as number);
        }
      }
    }
    this.#compute.gemm(inputs, weight, hidden, { transposeB: true, beta: 1 });
  }
}
