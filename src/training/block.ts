import type { LlamaConfig } from '../models/llama/config.js';
import type { RotaryTable } from '../models/llama/rope.js';
import type { LinearName } from '../models/llama/tensors.js';
import { attention } from './operations/attention.js';
import type { OperationContext, Weight } from './operations/context.js';
import { type LinearLayer, linear } from './operations/linear.js';
import { rmsNorm } from './operations/rms-norm.js';
import { rotary } from './operations/rotary.js';
import { siluGate } from './operations/silu-gate.js';
import type { Tape, Variable } from './tape.js';

/** The tensors of one transformer block. */
export interface TrainedBlock {
  readonly inputNorm: Weight;
  readonly postAttentionNorm: Weight;
  /** Where `queryKeyNorm`. */
  readonly queryNorm?: Weight;
  readonly keyNorm?: Weight;
  readonly linear: Readonly<Record<LinearName, LinearLayer>>;
}

/** What the parts of a block need beside its tensors. */
export interface BlockShape {
  readonly config: LlamaConfig;
  /** Index of the block, for its attention window. */
  readonly layer: number;
  readonly rotary: RotaryTable;
  /** Positions of each sequence. */
  readonly seqLen: number;
}

/**
 * One transformer block on a tape: the same computation as models/llama/block.ts, for sequences below each other.
 * @param hidden (sequences * seqLen) x hiddenSize, unchanged.
 */
export function trainedBlock(
  context: OperationContext,
  tape: Tape,
  shape: BlockShape,
  weights: TrainedBlock,
  hidden: Variable,
): Variable {
  const { 'self_attn.o_proj': output, 'mlp.down_proj': down } = weights.linear;
  const attended = linear(context, tape, output, mixedValues(context, tape, shape, weights, hidden), hidden);
  return linear(context, tape, down, gatedValues(context, tape, shape, weights, attended), attended);
}

/** The attention part but for its last product: the values of each head, mixed. positions x (heads * headSize). */
export function mixedValues(
  context: OperationContext,
  tape: Tape,
  { config, layer, rotary: table, seqLen }: BlockShape,
  { inputNorm, queryNorm, keyNorm, linear: layers }: TrainedBlock,
  hidden: Variable,
): Variable {
  const { heads, keyValueHeads, headSize, normEpsilon, windows } = config;
  const normed = rmsNorm(context, tape, inputNorm, hidden, normEpsilon);
  const project = (name: LinearName, norm?: Weight): Variable => {
    const projected = linear(context, tape, layers[name], normed);
    return norm ? rmsNorm(context, tape, norm, projected, normEpsilon) : projected;
  };
  const queries = project('self_attn.q_proj', queryNorm);
  const keys = project('self_attn.k_proj', keyNorm);
  const values = project('self_attn.v_proj');
  rotary(context, tape, table, queries, headSize, seqLen);
  rotary(context, tape, table, keys, headSize, seqLen);
  const shape = { heads, keyValueHeads, headSize, window: windows[layer] ?? null };
  return attention(context, tape, shape, [queries, keys, values], seqLen);
}

/** The MLP part but for its last product. positions x intermediateSize. */
export function gatedValues(
  context: OperationContext,
  tape: Tape,
  { config }: BlockShape,
  { postAttentionNorm, linear: layers }: TrainedBlock,
  hidden: Variable,
): Variable {
  const normed = rmsNorm(context, tape, postAttentionNorm, hidden, config.normEpsilon);
  const gate = linear(context, tape, layers['mlp.gate_proj'], normed);
  const up = linear(context, tape, layers['mlp.up_proj'], normed);
  return siluGate(context, tape, gate, up);
}

/**
 * Floats that the values of a block on a tape take for each position: two norms' outputs and two residuals, queries,
 * keys and values (twice where they are normed), the mixed values, and gate, up and their product.
 */
export function blockFloats({
  hiddenSize,
  intermediateSize,
  heads,
  keyValueHeads,
  headSize,
  queryKeyNorm,
}: LlamaConfig): number {
  const [query, keyValue] = [heads * headSize, keyValueHeads * headSize];
  return 4 * hiddenSize + 2 * query + 2 * keyValue + (queryKeyNorm ? query + keyValue : 0) + 3 * intermediateSize;
}
