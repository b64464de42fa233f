/**
 * Names of tensors in GGUF (https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py) and in
 * Hugging Face checkpoints of the LLaMA family.
 */
const globalNames: Readonly<Record<string, string>> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
};

const blockNames: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

/** Tables of rotary frequencies, which the configuration describes too: no weights. */
const derived = /^(rope_freqs\.weight|blk\.\d+\.attn_rot_embd)$/;

/** The Hugging Face name, undefined if there is none, null for a tensor that holds no weights. */
export function huggingFaceName(name: string): string | null | undefined {
  if (derived.test(name)) return null;
  const parts = /^(?:blk\.(0|[1-9]\d{0,5})\.)?([a-z_]+)\.(weight|bias)$/.exec(name);
  if (!parts) return undefined;
  const [, block, stem = '', kind] = parts;
  const names = block === undefined ? globalNames : blockNames;
  if (!Object.hasOwn(names, stem)) return undefined;
  return block === undefined ? `${names[stem]}.${kind}` : `model.layers.${block}.${names[stem]}.${kind}`;
}
