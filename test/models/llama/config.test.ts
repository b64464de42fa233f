import { describe, expect, test } from 'vitest';
import { parseLlamaConfig } from '../../../src/models/llama/config.js';
import { inverseFrequencies } from '../../../src/models/llama/rope.js';
import { checkTensors } from '../../../src/models/llama/tensors.js';
import { errorOf } from '../../formats/expect-error.js';
import { memoryCheckpoint, smallConfig } from './memory-checkpoint.js';

const qwen3 = {
  ...smallConfig,
  architectures: ['Qwen3ForCausalLM'],
  model_type: 'qwen3',
  mlp_bias: undefined,
  sliding_window: 16,
  max_window_layers: 1,
};

/** Without the keys that are undefined, as JSON would have it. */
const parse = (config: object, ignored: readonly string[] = []) =>
  parseLlamaConfig(JSON.parse(JSON.stringify(config)), ignored);
const without = (...keys: string[]) =>
  Object.fromEntries(Object.entries(smallConfig).filter(([key]) => !keys.includes(key)));

describe('what is read', () => {
  test('Llama, with its defaults', () => {
    const config = parse(without('num_key_value_heads', 'head_dim', 'attention_bias', 'mlp_bias', 'rms_norm_eps'));
    expect(config).toMatchObject({
      architecture: 'LlamaForCausalLM',
      keyValueHeads: 4,
      headSize: 6,
      normEpsilon: 1e-6,
      queryKeyValueBias: false,
      outputBias: false,
      mlpBias: false,
      queryKeyNorm: false,
      tiedHead: false,
      windows: [null, null, null],
      rope: { type: 'default', theta: 10_000 },
    });
  });

  test('biases', () => {
    expect(parse(smallConfig)).toMatchObject({ queryKeyValueBias: true, outputBias: true, mlpBias: true });
    const qwen2 = { ...qwen3, architectures: ['Qwen2ForCausalLM'], attention_bias: undefined };
    expect(parse(qwen2)).toMatchObject({ queryKeyValueBias: true, outputBias: false, mlpBias: false });
  });

  test('windows: all of Mistral, some of Qwen, on request only', () => {
    const mistral = { ...without('attention_bias', 'mlp_bias'), architectures: ['MistralForCausalLM'] };
    expect(parse({ ...mistral, sliding_window: 8 }).windows).toEqual([8, 8, 8]);
    expect(parse({ ...mistral, sliding_window: null }).windows).toEqual([null, null, null]);
    expect(parse(qwen3).windows).toEqual([null, null, null]);
    expect(parse({ ...qwen3, use_sliding_window: true }).windows).toEqual([null, 16, 16]);
    const types = ['sliding_attention', 'full_attention', 'sliding_attention'];
    expect(parse({ ...qwen3, use_sliding_window: true, layer_types: types }).windows).toEqual([16, null, 16]);
  });

  test('rope of transformers 4 and 5 is the same', () => {
    const scaling = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 32 };
    const old = { ...smallConfig, rope_theta: 5e5, rope_scaling: { rope_type: 'llama3', ...scaling } };
    const parameters = { rope_type: 'llama3', rope_theta: 5e5, ...scaling };
    const { rope } = parse({ ...without('rope_theta'), rope_parameters: parameters });
    expect(rope).toEqual({
      type: 'llama3',
      theta: 5e5,
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 32,
    });
    expect(parse(old).rope).toEqual(rope);
    const linear = { type: 'linear', theta: 10_000, factor: 2 };
    expect(parse({ ...smallConfig, rope_scaling: { type: 'linear', factor: 2 } }).rope).toEqual(linear);
    expect(inverseFrequencies(rope, 8)[0]).toBe(1);
    expect(inverseFrequencies({ type: 'linear', theta: 10_000, factor: 2 }, 8)).toBeAllclose(
      [0.5, 0.05, 0.005, 0.0005],
      {
        rtol: 1e-6,
      },
    );
  });

  test('the architecture from model_type where it is not named', () => {
    expect(parse(without('architectures')).architecture).toBe('LlamaForCausalLM');
  });

  test('options that change nothing', () => {
    const harmless = {
      transformers_version: '4.45.0',
      _name_or_path: 'x',
      attention_dropout: 0.1,
      pad_token_id: 0,
      pretraining_tp: 2,
      torch_dtype: 'bfloat16',
      rope_interleaved: false,
      final_logit_softcapping: null,
      'transformers.js_config': { kv_cache_dtype: {} },
      quantization_config: { quant_method: 'double-sparse' },
    };
    expect(parse({ ...smallConfig, ...harmless })).toEqual(parse(smallConfig));
    expect(parse({ ...smallConfig, note: 'mine' }, ['note'])).toEqual(parse(smallConfig));
  });
});

describe('what is refused, by name', () => {
  test.each([
    ['another architecture', { architectures: ['GemmaForCausalLM'] }, 'GemmaForCausalLM'],
    ['a wrapper', { architectures: ['LlamaForSequenceClassification'] }, 'LlamaForSequenceClassification'],
    ['two architectures', { architectures: ['LlamaForCausalLM', 'MistralForCausalLM'] }, 'MistralForCausalLM'],
    ['another activation', { hidden_act: 'gelu' }, 'gelu'],
    ['an unknown option', { final_logit_softcapping: 30 }, 'final_logit_softcapping'],
    ['pairs side by side', { rope_interleaved: true }, 'rope_interleaved'],
    ['a window where the family has none', { sliding_window: 8 }, 'sliding_window'],
    ['experts', { num_local_experts: 8 }, 'num_local_experts'],
    ['custom code', { auto_map: { AutoModelForCausalLM: 'x.y' } }, 'auto_map'],
    ['dynamic rope', { rope_scaling: { type: 'dynamic', factor: 2 } }, 'dynamic'],
    ['yarn', { rope_parameters: { rope_type: 'yarn', factor: 4, rope_theta: 1e6 } }, 'yarn'],
    ['an unknown rope option', { rope_scaling: { type: 'linear', factor: 2, twist: 1 } }, 'twist'],
    ['a part of the head rotated', { partial_rotary_factor: 0.5 }, 'partial_rotary_factor'],
    ['quantised weights', { quantization_config: { quant_method: 'gptq' } }, 'gptq'],
  ])('%s', (_, change, name) => {
    expect(errorOf(() => parse({ ...smallConfig, ...change }), 'file-unsupported').message).toContain(name);
  });

  test.each([
    ['no size', { hidden_size: undefined }, 'hidden_size'],
    ['a size that is none', { vocab_size: -1 }, 'vocab_size'],
    ['a size of the wrong type', { intermediate_size: '40' }, 'intermediate_size'],
    ['heads that cannot be shared', { num_key_value_heads: 3 }, '3 key/value heads'],
    ['odd heads', { head_dim: 7 }, '7 channels'],
    ['a scaling without factor', { rope_scaling: { rope_type: 'linear' } }, 'factor'],
    ['a base that is no number', { rope_theta: 'big' }, 'rope_theta'],
    ['Llama 3 scaling without its factors', { rope_scaling: { rope_type: 'llama3', factor: 8 } }, 'low_freq_factor'],
  ])('%s', (_, change, name) => {
    expect(errorOf(() => parse({ ...smallConfig, ...change }), 'file-malformed').message).toContain(name);
  });

  test('Qwen: types that do not fit', () => {
    errorOf(() => parse({ ...qwen3, layer_types: ['full_attention'] }), 'file-malformed');
    errorOf(() => parse({ ...qwen3, layer_types: Array(3).fill('sliding_attention') }), 'file-unsupported');
    errorOf(() => parse({ ...qwen3, layer_types: Array(3).fill('chunked_attention') }), 'file-unsupported');
    errorOf(() => parse({ ...qwen3, num_key_value_heads: undefined }), 'file-malformed');
  });

  test('no configuration at all', () => {
    for (const config of [{}, { architectures: [] }, { model_type: 7 }, { architectures: [5] }]) {
      errorOf(() => parseLlamaConfig(config), 'file-unsupported');
    }
  });
});

describe('checkTensors', () => {
  const config = parse(smallConfig);
  const rename = (from: string, to: string) => {
    const checkpoint = memoryCheckpoint();
    const tensor = checkpoint.tensors.get(from)!;
    checkpoint.tensors.delete(from);
    checkpoint.tensors.set(to, tensor);
    return checkpoint;
  };
  const reshape = (name: string, shape: readonly number[]) => {
    const checkpoint = memoryCheckpoint();
    checkpoint.tensors.set(name, { name, shape, dtype: 'F32', bytes: 0 });
    return checkpoint;
  };

  test('what fits passes, with leftovers of old tools', () => {
    checkTensors(config, memoryCheckpoint());
    checkTensors(config, reshape('model.layers.0.self_attn.rotary_emb.inv_freq', [4]));
    checkTensors({ ...config, tiedHead: true }, memoryCheckpoint());
  });

  test('missing tensors are named', () => {
    const checkpoint = memoryCheckpoint();
    checkpoint.tensors.delete('model.layers.1.mlp.up_proj.weight');
    checkpoint.tensors.delete('lm_head.weight');
    const { data } = errorOf(() => checkTensors(config, checkpoint), 'not-found');
    expect(data.items).toEqual(['model.layers.1.mlp.up_proj.weight', 'lm_head.weight']);
  });

  test('tensors of no use are named', () => {
    const name = 'model.layers.3.mlp.up_proj.weight';
    expect(errorOf(() => checkTensors(config, reshape(name, [40, 24])), 'file-unsupported').message).toContain(name);
    const bias = 'model.layers.0.self_attn.q_proj.bias';
    const plain = { ...config, queryKeyValueBias: false };
    expect(errorOf(() => checkTensors(plain, memoryCheckpoint()), 'file-unsupported').message).toContain(bias);
  });

  test('wrong shapes are named with both', () => {
    const name = 'model.layers.2.mlp.down_proj.weight';
    const { message } = errorOf(() => checkTensors(config, reshape(name, [40, 24])), 'shape-mismatch');
    expect(message).toContain(`${name} is [40,24] instead of [24,40]`);
  });

  test('a vocabulary of another size is called that', () => {
    const checkpoint = reshape('model.embed_tokens.weight', [51, 24]);
    const error = errorOf(() => checkTensors(config, checkpoint), 'shape-mismatch');
    expect(error.message).toContain('vocabulary of 50');
    expect(error.data).toMatchObject({ config: 50, tensor: 51 });
  });

  test('a renamed tensor is a missing one', () => {
    errorOf(() => checkTensors(config, rename('model.norm.weight', 'norm.weight')), 'not-found');
  });
});
