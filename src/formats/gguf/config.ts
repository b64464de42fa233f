import type { Fields } from './fields.js';
import type { GgufTensor } from './header.js';
import { llama3ScalingFromTable, type RopeScaling } from './rope-scaling.js';

/** What differs between the architectures whose GGUF files we read. */
export interface Family {
  readonly modelType: string;
  readonly architecture: string;
  /** Rows of q and k are reordered by the converter, for llama.cpp's pairing of neighbouring dimensions. */
  readonly permuted: boolean;
}

const families: Readonly<Record<string, Family>> = {
  llama: { modelType: 'llama', architecture: 'LlamaForCausalLM', permuted: true },
  qwen2: { modelType: 'qwen2', architecture: 'Qwen2ForCausalLM', permuted: false },
  qwen3: { modelType: 'qwen3', architecture: 'Qwen3ForCausalLM', permuted: false },
};

/** @throws DoubleSparseError `file-unsupported` that names the architecture and those we know. */
export function familyOf(fields: Fields): Family {
  const name = fields.string('general.architecture');
  if (name === undefined) throw fields.malformed('general.architecture is missing');
  if (Object.hasOwn(families, name)) return families[name] as Family;
  throw fields.unsupported(
    `the architecture ${JSON.stringify(name)} is not supported`,
    `architectures of GGUF files that are read: ${Object.keys(families).join(', ')} (Mistral files are llama)`,
  );
}

/**
 * The equivalent of config.json from the metadata of a GGUF file. Both spellings of the rotary parameters are given:
 * `rope_parameters` (transformers 5) and `rope_theta` with `rope_scaling` (before).
 * @param ropeTable the tensor rope_freqs.weight, if there is one.
 * @throws DoubleSparseError `file-malformed`, `file-unsupported` for what the family in Hugging Face has no word for.
 */
export function configFromMetadata(
  fields: Fields,
  tensors: ReadonlyMap<string, GgufTensor>,
  ropeTable: Float32Array | undefined,
): Record<string, unknown> {
  const family = familyOf(fields);
  const key = (name: string): string => `${fields.string('general.architecture')}.${name}`;
  const size = (name: string): number => fields.requiredSize(key(name));
  const experts = fields.number(key('expert_count'));
  if (experts) throw fields.unsupported(`a mixture of ${experts} experts is not supported`, 'only dense models are');

  const hidden = size('embedding_length');
  const heads = size('attention.head_count');
  const headSize =
    fields.size(key('attention.key_length')) ?? fields.size(key('rope.dimension_count')) ?? hidden / heads;
  if (!Number.isInteger(headSize)) throw fields.malformed(`${hidden} is not divisible by ${heads} heads`);
  const rotated = fields.size(key('rope.dimension_count')) ?? headSize;
  if (rotated !== headSize)
    throw fields.unsupported(`${rotated} of ${headSize} dimensions of a head are rotated`, 'all must be');
  const valueSize = fields.size(key('attention.value_length')) ?? headSize;
  if (valueSize !== headSize)
    throw fields.unsupported(`keys have ${headSize} dimensions, values ${valueSize}`, 'they must be equal');
  const epsilon = fields.number(key('attention.layer_norm_rms_epsilon'));
  if (epsilon === undefined) throw fields.malformed(`${key('attention.layer_norm_rms_epsilon')} is missing`);
  const embeddings = tensors.get('token_embd.weight');
  if (embeddings?.shape.length !== 2) throw fields.malformed('there is no matrix token_embd.weight');
  const vocabulary = embeddings.shape[0] as number;
  const declared = fields.size(key('vocab_size'));
  if (declared !== undefined && declared !== vocabulary)
    throw fields.malformed(`vocab_size is ${declared}, token_embd.weight has ${vocabulary} rows`);

  const theta = fields.number(key('rope.freq_base')) ?? 10_000;
  const scaling = ropeScaling(fields, key, ropeTable, theta);
  const window = fields.size(key('attention.sliding_window'));
  const windowed = family.modelType === 'llama' && window !== undefined;
  return {
    architectures: [windowed ? 'MistralForCausalLM' : family.architecture],
    model_type: windowed ? 'mistral' : family.modelType,
    hidden_act: 'silu',
    hidden_size: hidden,
    intermediate_size: size('feed_forward_length'),
    num_hidden_layers: size('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: fields.size(key('attention.head_count_kv')) ?? heads,
    head_dim: headSize,
    max_position_embeddings: size('context_length'),
    rms_norm_eps: epsilon,
    rope_theta: theta,
    rope_scaling: scaling ?? null,
    rope_parameters: { rope_theta: theta, ...(scaling ?? { rope_type: 'default' }) },
    ...(windowed ? { sliding_window: window } : family.modelType === 'llama' ? {} : { use_sliding_window: false }),
    attention_bias: tensors.has('blk.0.attn_q.bias'),
    attention_dropout: 0,
    mlp_bias: tensors.has('blk.0.ffn_up.bias'),
    tie_word_embeddings: !tensors.has('output.weight'),
    vocab_size: vocabulary,
    bos_token_id: fields.number('tokenizer.ggml.bos_token_id') ?? null,
    eos_token_id: endIds(fields),
    pad_token_id: fields.number('tokenizer.ggml.padding_token_id') ?? null,
    unk_token_id: fields.number('tokenizer.ggml.unknown_token_id') ?? null,
    use_cache: true,
    initializer_range: 0.02,
    dtype: weightType(tensors),
    torch_dtype: weightType(tensors),
  };
}

/** Ids that end a text, and the turn of a chat. */
function endIds(fields: Fields): number | number[] | null {
  const names = ['eos', 'eot', 'eom'].map((name) => fields.number(`tokenizer.ggml.${name}_token_id`));
  const ids = [...new Set(names.filter((id) => id !== undefined))];
  return ids.length > 1 ? ids : (ids[0] ?? null);
}

/** What a dense copy is stored in: the type of most values, fp16 for quantised ones. */
function weightType(tensors: ReadonlyMap<string, GgufTensor>): string {
  const bytes = new Map<string, number>();
  for (const { shape, type, begin, end } of tensors.values()) {
    if (shape.length > 1) bytes.set(type.name, (bytes.get(type.name) ?? 0) + end - begin);
  }
  const [name] = [...bytes].reduce((most, each) => (each[1] > most[1] ? each : most), ['F16', 0]);
  return name === 'F32' ? 'float32' : name === 'BF16' ? 'bfloat16' : 'float16';
}

function ropeScaling(
  fields: Fields,
  key: (name: string) => string,
  table: Float32Array | undefined,
  theta: number,
): RopeScaling | undefined {
  const type = fields.string(key('rope.scaling.type')) ?? 'none';
  const factor = fields.number(key('rope.scaling.factor'));
  // Files of before rope.scaling.type have the factor of a linear scaling alone.
  const linear = fields.number(key('rope.scale_linear')) ?? (type === 'linear' ? factor : undefined);
  if (table?.some((value) => value !== 1)) {
    const scaling = llama3ScalingFromTable(table, theta);
    if (scaling) return scaling;
    throw fields.unsupported('rope_freqs.weight is not a scaling of the kind of Llama 3', 'use the safetensors model');
  }
  if (type === 'none' || type === 'linear') {
    return linear === undefined || linear === 1 ? undefined : { rope_type: 'linear', factor: linear };
  }
  if (type !== 'yarn') throw fields.unsupported(`rope scaling of type ${type} is not supported`, 'use another model');
  const original = fields.number(key('rope.scaling.original_context_length'));
  if (factor === undefined || original === undefined) throw fields.malformed('yarn scaling without factor or context');
  const extra = { attention_factor: 'attn_factor', beta_fast: 'yarn_beta_fast', beta_slow: 'yarn_beta_slow' };
  const optional = Object.entries(extra).flatMap(([name, source]) => {
    const value = fields.number(key(`rope.scaling.${source}`));
    return value === undefined ? [] : [[name, value] as const];
  });
  return { rope_type: 'yarn', factor, original_max_position_embeddings: original, ...Object.fromEntries(optional) };
}
