/**
 * Keys of config.json that do not change what the forward pass computes: training and generation settings, notes of
 * the tool that wrote the file. `null` and `false` mean "off" for any key and pass as well.
 */
const inertOptions: ReadonlySet<string> = new Set([
  'add_cross_attention',
  'architectures',
  'attn_implementation',
  'bad_words_ids',
  'begin_suppress_tokens',
  'chunk_size_feed_forward',
  'decoder_start_token_id',
  'diversity_penalty',
  'do_sample',
  'dtype',
  'early_stopping',
  'encoder_no_repeat_ngram_size',
  'eos_token',
  'exponential_decay_length_penalty',
  'finetuning_task',
  'forced_bos_token_id',
  'forced_eos_token_id',
  'gradient_checkpointing',
  'id2label',
  'initializer_range',
  'is_decoder',
  'is_encoder_decoder',
  'is_llama_config',
  'keys_to_ignore_at_inference',
  'label2id',
  'length_penalty',
  'max_length',
  'max_sequence_length',
  'min_length',
  'model_max_length',
  'model_type',
  'no_repeat_ngram_size',
  'num_beam_groups',
  'num_beams',
  'num_return_sequences',
  'output_attentions',
  'output_hidden_states',
  'output_router_logits',
  'output_scores',
  'prefix',
  'pretraining_tp',
  'problem_type',
  'pruned_heads',
  'remove_invalid_values',
  'repetition_penalty',
  'return_dict',
  'return_dict_in_generate',
  'sep_token_id',
  'suppress_tokens',
  'task_specific_params',
  'temperature',
  'tf_legacy_loss',
  'top_k',
  'top_p',
  'torch_dtype',
  'torchscript',
  'typical_p',
  'use_bfloat16',
  'use_cache',
]);

/** Families of such keys: `bos_token_id`, `attention_dropout`, `transformers_version`, `_name_or_path`, ... */
const inertPatterns: readonly RegExp[] = [
  /^_/,
  /_token_id$/,
  /dropout$/,
  /(^|_)version$/,
  /^transformers/,
  /^unsloth/,
  /^tokenizer_/,
  /_fixed$/,
];

/**
 * The keys that are neither understood nor known to be harmless.
 * @param understood keys that the reader of the configuration acts on.
 * @param ignored keys that the user has declared harmless.
 */
export function unknownOptions(
  config: Readonly<Record<string, unknown>>,
  understood: ReadonlySet<string>,
  ignored: ReadonlySet<string>,
): string[] {
  return Object.entries(config)
    .filter(([, value]) => value !== null && value !== false)
    .map(([key]) => key)
    .filter((key) => !understood.has(key) && !ignored.has(key) && !inertOptions.has(key))
    .filter((key) => !inertPatterns.some((pattern) => pattern.test(key)));
}
