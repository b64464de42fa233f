import { z } from 'zod';
import { DoubleSparseError } from '../../errors.js';
import { unknownOptions } from './config-options.js';
import { parseRope, type Rope } from './rope.js';

/** Architectures of the family, by the names that config.json gives them. */
const architectures = ['LlamaForCausalLM', 'MistralForCausalLM', 'Qwen2ForCausalLM', 'Qwen3ForCausalLM'] as const;
type Architecture = (typeof architectures)[number];

/** All that the forward pass depends on beside the weights. Plain data: it goes to worker threads as it is. */
export interface LlamaConfig {
  readonly architecture: Architecture;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  /** Query heads, a multiple of `keyValueHeads`. */
  readonly heads: number;
  readonly keyValueHeads: number;
  /** Channels of one head, even. heads * headSize need not be hiddenSize. */
  readonly headSize: number;
  readonly normEpsilon: number;
  /** Longest sequence the model was made for (max_position_embeddings). */
  readonly contextLength: number;
  readonly rope: Rope;
  /** Per layer: how many positions, its own included, a position sees; null for all before it. */
  readonly windows: readonly (number | null)[];
  /** Is the head the embedding matrix itself? */
  readonly tiedHead: boolean;
  readonly queryKeyValueBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm on each head of queries and keys (Qwen3). */
  readonly queryKeyNorm: boolean;
}

const count = z.int().positive();
const flag = z.boolean().nullish();
const window = count.nullish();

const commonShape = {
  architectures: z.array(z.string()).nullish(),
  model_type: z.string().nullish(),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  max_position_embeddings: count,
  rms_norm_eps: z.number().nonnegative().default(1e-6),
  hidden_act: z.string().default('silu'),
  tie_word_embeddings: flag,
  rope_theta: z.unknown().optional(),
  rope_scaling: z.unknown().optional(),
  rope_parameters: z.unknown().optional(),
  partial_rotary_factor: z.unknown().optional(),
  original_max_position_embeddings: count.nullish(),
  quantization_config: z.looseObject({ quant_method: z.string() }).nullish(),
};
const qwenShape = {
  ...commonShape,
  use_sliding_window: flag,
  sliding_window: window,
  max_window_layers: z.int().nonnegative().nullish(),
  layer_types: z.array(z.string()).nullish(),
};
/** What each architecture reads from config.json; anything else that is switched on is refused. */
const schemas = {
  LlamaForCausalLM: z.looseObject({ ...commonShape, attention_bias: flag, mlp_bias: flag }),
  MistralForCausalLM: z.looseObject({ ...commonShape, sliding_window: window }),
  // attention_bias: transformers has the biases whatever it says.
  Qwen2ForCausalLM: z.looseObject({ ...qwenShape, attention_bias: flag }),
  Qwen3ForCausalLM: z.looseObject({ ...qwenShape, attention_bias: flag }),
} satisfies Record<Architecture, z.ZodObject>;

/** Every field that any of the schemas knows. */
type Fields = z.output<(typeof schemas)['Qwen3ForCausalLM']> & { mlp_bias?: boolean | null | undefined };

/** For a configuration without `architectures`. */
const architectureOfType: Readonly<Record<string, Architecture>> = {
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
};

/**
 * Reads config.json of the LLaMA family. Whatever would change the computation and is not implemented is refused by
 * name: another architecture, activation, rope type, quantisation, or an option that is switched on and unknown.
 * @param config the parsed JSON; transformers 4 and 5 forms.
 * @param ignoredOptions options that the caller declares harmless (default none).
 * @throws DoubleSparseError `file-unsupported`, `file-malformed`
 */
export function parseLlamaConfig(
  config: Readonly<Record<string, unknown>>,
  ignoredOptions: readonly string[] = [],
): LlamaConfig {
  const architecture = architectureOf(config);
  const schema = schemas[architecture];
  const understood = new Set(Object.keys(schema.shape));
  const unknown = unknownOptions(config, understood, new Set(ignoredOptions));
  if (unknown.length > 0) {
    const shown = unknown.map((name) => `${name} = ${JSON.stringify(config[name])?.slice(0, 80)}`);
    throw unsupported(`${architecture} with ${shown.join(', ')}`, { architecture, options: unknown });
  }
  const result = schema.safeParse(config);
  if (!result.success) {
    throw new DoubleSparseError('file-malformed', `config.json: ${z.prettifyError(result.error)}`, {
      data: { architecture },
    });
  }
  const fields = result.data as Fields;
  if (fields.hidden_act !== 'silu') {
    throw unsupported(`hidden_act "${fields.hidden_act}"`, { option: 'hidden_act', value: fields.hidden_act });
  }
  const method = fields.quantization_config?.quant_method;
  if (method !== undefined && method !== 'double-sparse') {
    throw unsupported(`quantization_config with quant_method "${method}"`, { option: 'quant_method', value: method });
  }
  const isQwen = architecture === 'Qwen2ForCausalLM' || architecture === 'Qwen3ForCausalLM';
  const attentionBias = fields.attention_bias === true;
  const heads = fields.num_attention_heads;
  const description: LlamaConfig = {
    architecture,
    vocabularySize: fields.vocab_size,
    hiddenSize: fields.hidden_size,
    intermediateSize: fields.intermediate_size,
    layers: fields.num_hidden_layers,
    heads,
    keyValueHeads: fields.num_key_value_heads ?? heads,
    headSize: fields.head_dim ?? (architecture === 'Qwen3ForCausalLM' ? 128 : fields.hidden_size / heads),
    normEpsilon: fields.rms_norm_eps,
    contextLength: fields.max_position_embeddings,
    rope: parseRope(fields, fields.max_position_embeddings),
    windows: windowsOf(architecture, fields),
    tiedHead: fields.tie_word_embeddings === true,
    queryKeyValueBias: architecture === 'Qwen2ForCausalLM' || attentionBias,
    outputBias: architecture !== 'Qwen2ForCausalLM' && attentionBias,
    mlpBias: !isQwen && fields.mlp_bias === true,
    queryKeyNorm: architecture === 'Qwen3ForCausalLM',
  };
  checkHeads(description, fields.num_key_value_heads);
  return description;
}

function architectureOf(config: Readonly<Record<string, unknown>>): Architecture {
  const named = Array.isArray(config.architectures) ? config.architectures : [];
  const name: unknown = named[0] ?? architectureOfType[String(config.model_type)] ?? config.model_type;
  if (named.length <= 1 && (architectures as readonly unknown[]).includes(name)) return name as Architecture;
  const shown = named.length > 1 ? named.join(', ') : typeof name === 'string' ? name : undefined;
  throw new DoubleSparseError(
    'file-unsupported',
    shown === undefined ? 'config.json names no architecture' : `the architecture ${shown} is not supported`,
    { data: { architecture: shown ?? '', supported: architectures }, hint: `supported: ${architectures.join(', ')}` },
  );
}

/** Attention windows by layer: all of Mistral's, Qwen's from `max_window_layers` on, or as `layer_types` says. */
function windowsOf(architecture: Architecture, fields: Fields): (number | null)[] {
  const layers = fields.num_hidden_layers;
  const isQwen = architecture.startsWith('Qwen');
  const size = isQwen && !fields.use_sliding_window ? null : (fields.sliding_window ?? null);
  if (isQwen && fields.layer_types) {
    if (fields.layer_types.length !== layers) {
      throw new DoubleSparseError(
        'file-malformed',
        `config.json: layer_types has ${fields.layer_types.length} entries for ${layers} layers`,
        { data: { layers, types: fields.layer_types.length } },
      );
    }
    return fields.layer_types.map((type) => {
      if (type === 'full_attention') return null;
      if (type === 'sliding_attention' && size !== null) return size;
      throw unsupported(`layer_types "${type}" (sliding_window ${size})`, { option: 'layer_types', value: type });
    });
  }
  const first = isQwen ? (fields.max_window_layers ?? 28) : 0;
  return Array.from({ length: layers }, (_, layer) => (layer >= first ? size : null));
}

function checkHeads({ architecture, heads, keyValueHeads, headSize }: LlamaConfig, given: unknown): void {
  const malformed = (problem: string): DoubleSparseError =>
    new DoubleSparseError('file-malformed', `config.json: ${problem}`, { data: { heads, keyValueHeads, headSize } });
  // Only LLaMA's default is "as many as query heads"; the others have numbers of old releases there.
  if (architecture !== 'LlamaForCausalLM' && typeof given !== 'number')
    throw malformed('num_key_value_heads is missing');
  if (heads % keyValueHeads !== 0) {
    throw malformed(`${heads} query heads cannot share ${keyValueHeads} key/value heads evenly`);
  }
  if (!Number.isInteger(headSize) || headSize % 2 !== 0)
    throw malformed(`heads of ${headSize} channels (must be even)`);
}

function unsupported(what: string, data: Record<string, string | readonly string[]>): DoubleSparseError {
  return new DoubleSparseError('file-unsupported', `config.json: ${what} is not supported`, {
    data,
    hint: 'the result would be wrong without it; if you know that it changes nothing, remove it from config.json',
  });
}
