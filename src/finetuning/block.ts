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

/**
 * One transformer block on a tape: the same computation as models/llama/block.ts, for sequences below each other.
 * @param hidden (sequences * seqLen) x hiddenSize, unchanged.
 */
export function trainedBlock(
  context: OperationContext,
  tape: Tape,
  config: LlamaConfig,
  layer: number,
  weights: TrainedBlock,
  table: RotaryTable,
  hidden: Variable,
  seqLen: number,
): Variable {
  const { heads, keyValueHeads, headSize, normEpsilon, windows } = config;
  const project = (name: LinearName, x: Variable, residual?: Variable) =>
    linear(context, tape, weights.linear[name], x, residual);
  const norm = (weight: Weight | undefined, x: Variable) =>
    weight ? rmsNorm(context, tape, weight, x, normEpsilon) : x;
  const normed = norm(weights.inputNorm, hidden);
  const queries = norm(weights.queryNorm, project('self_attn.q_proj', normed));
  const keys = norm(weights.keyNorm, project('self_attn.k_proj', normed));
  const values = project('self_attn.v_proj', normed);
  rotary(context, tape, table, queries, headSize, seqLen);
  rotary(context, tape, table, keys, headSize, seqLen);
  const shape = { heads, keyValueHeads, headSize, window: windows[layer] ?? null };
  const mixed = attention(context, tape, shape, [queries, keys, values], seqLen);
  const between = project('self_attn.o_proj', mixed, hidden);
  const normedBetween = norm(weights.postAttentionNorm, between);
  const gate = project('mlp.gate_proj', normedBetween);
  const up = project('mlp.up_proj', normedBetween);
  return project('mlp.down_proj', siluGate(context, tape, gate, up), between);
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
