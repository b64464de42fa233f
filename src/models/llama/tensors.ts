import { DoubleSparseError } from '../../errors.js';
import type { Checkpoint } from '../../formats/checkpoint.js';
import type { LlamaConfig } from './config.js';

/** The linear layers of a block, by the names of their modules, in the order of computation. */
export const linearNames = [
  'self_attn.q_proj',
  'self_attn.k_proj',
  'self_attn.v_proj',
  'self_attn.o_proj',
  'mlp.gate_proj',
  'mlp.up_proj',
  'mlp.down_proj',
] as const;
export type LinearName = (typeof linearNames)[number];

/** Sets of linear layers that multiply the same input, in the order of computation. */
export const linearGroups = ['qkv', 'output', 'gateUp', 'down'] as const;
export type LinearGroup = (typeof linearGroups)[number];

export const groupMembers: Readonly<Record<LinearGroup, readonly LinearName[]>> = {
  qkv: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
  output: ['self_attn.o_proj'],
  gateUp: ['mlp.gate_proj', 'mlp.up_proj'],
  down: ['mlp.down_proj'],
};

export const embeddingName = 'model.embed_tokens.weight';
export const finalNormName = 'model.norm.weight';
export const headName = 'lm_head.weight';

/** Name of a tensor of block `layer`: `blockTensor(3, 'mlp.up_proj')` is `model.layers.3.mlp.up_proj.weight`. */
export function blockTensor(layer: number, module: string, kind: 'weight' | 'bias' = 'weight'): string {
  return `model.layers.${layer}.${module}.${kind}`;
}

/** [out, in] of a linear layer. */
export function linearShape(config: LlamaConfig, name: LinearName): readonly [number, number] {
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headSize } = config;
  switch (name) {
    case 'self_attn.q_proj':
      return [heads * headSize, hiddenSize];
    case 'self_attn.k_proj':
    case 'self_attn.v_proj':
      return [keyValueHeads * headSize, hiddenSize];
    case 'self_attn.o_proj':
      return [hiddenSize, heads * headSize];
    case 'mlp.gate_proj':
    case 'mlp.up_proj':
      return [intermediateSize, hiddenSize];
    case 'mlp.down_proj':
      return [hiddenSize, intermediateSize];
  }
}

/** Width of the input of a group. */
export function groupInputSize(config: LlamaConfig, group: LinearGroup): number {
  return linearShape(config, groupMembers[group][0] as LinearName)[1];
}

export function hasBias(config: LlamaConfig, name: LinearName): boolean {
  if (name.startsWith('mlp.')) return config.mlpBias;
  return name === 'self_attn.o_proj' ? config.outputBias : config.queryKeyValueBias;
}

/** Every tensor that the configuration calls for, with its shape. */
export function expectedTensors(config: LlamaConfig): Map<string, readonly number[]> {
  const { hiddenSize, vocabularySize, headSize } = config;
  const tensors = new Map<string, readonly number[]>([[embeddingName, [vocabularySize, hiddenSize]]]);
  for (let layer = 0; layer < config.layers; layer++) {
    tensors.set(blockTensor(layer, 'input_layernorm'), [hiddenSize]);
    tensors.set(blockTensor(layer, 'post_attention_layernorm'), [hiddenSize]);
    if (config.queryKeyNorm) {
      tensors.set(blockTensor(layer, 'self_attn.q_norm'), [headSize]);
      tensors.set(blockTensor(layer, 'self_attn.k_norm'), [headSize]);
    }
    for (const name of linearNames) {
      const shape = linearShape(config, name);
      tensors.set(blockTensor(layer, name), shape);
      if (hasBias(config, name)) tensors.set(blockTensor(layer, name, 'bias'), [shape[0]]);
    }
  }
  tensors.set(finalNormName, [hiddenSize]);
  if (!config.tiedHead) tensors.set(headName, [vocabularySize, hiddenSize]);
  return tensors;
}

/** Leftovers that some tools save and nobody reads. */
const ignoredTensors = /\.rotary_emb\.inv_freq$/;

/** Problems shown in a message; the rest is counted. */
const shownProblems = 8;

/**
 * Compares names and shapes of a checkpoint's tensors with its configuration, from headers alone.
 * @throws DoubleSparseError `shape-mismatch` (also for a vocabulary of another size), `not-found` (missing tensors),
 * `file-unsupported` (tensors that the forward pass would not use)
 */
export function checkTensors(config: LlamaConfig, checkpoint: Checkpoint): void {
  const expected = expectedTensors(config);
  const { tensors, path } = checkpoint;
  const vocabulary = tensors.get(embeddingName)?.shape[0];
  if (vocabulary !== undefined && vocabulary !== config.vocabularySize) {
    throw new DoubleSparseError(
      'shape-mismatch',
      `${path}: config.json has a vocabulary of ${config.vocabularySize}, ${embeddingName} one of ${vocabulary}`,
      {
        data: { path, config: config.vocabularySize, tensor: vocabulary },
        hint: 'tokens were added and the config not updated, or config and weights belong to different models',
      },
    );
  }
  const wrong = [...expected].flatMap(([name, shape]) => {
    const found = tensors.get(name)?.shape;
    return found && found.join() !== shape.join() ? [`${name} is [${found}] instead of [${shape}]`] : [];
  });
  if (wrong.length > 0) throw problem('shape-mismatch', path, 'tensors of another shape than config.json says', wrong);
  const missing = [...expected.keys()].filter((name) => !tensors.has(name));
  if (missing.length > 0) throw problem('not-found', path, 'missing tensors', missing);
  // A tied head may be saved a second time; that both are equal is checked when it is read.
  const extra = [...tensors.keys()].filter(
    (name) => !expected.has(name) && name !== headName && !ignoredTensors.test(name),
  );
  if (extra.length > 0) throw problem('file-unsupported', path, 'tensors that the architecture does not have', extra);
}

function problem(
  code: 'shape-mismatch' | 'not-found' | 'file-unsupported',
  path: string,
  what: string,
  items: readonly string[],
): DoubleSparseError {
  const shown = items.slice(0, shownProblems).join('; ');
  const more = items.length > shownProblems ? `; and ${items.length - shownProblems} more` : '';
  return new DoubleSparseError(code, `${path} has ${items.length} ${what}: ${shown}${more}`, {
    data: { path, items },
    hint: 'config.json and weights do not belong together, or files are missing',
  });
}
