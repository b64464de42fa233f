import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GgufCheckpoint } from '../../../src/formats/gguf/checkpoint.js';
import { llama3ScalingFromTable } from '../../../src/formats/gguf/rope-scaling.js';
import { errorOf } from '../expect-error.js';
import { temporaryFolder } from '../temporary-folder.js';
import { buildGguf, type GgufSpec, tinySpec } from './build-gguf.js';

const folder = temporaryFolder();
let count = 0;

function open(spec: GgufSpec): GgufCheckpoint {
  const path = join(folder, `${count++}.gguf`);
  writeFileSync(path, buildGguf(spec));
  return new GgufCheckpoint(path);
}

test('a turn that ends otherwise than a text ends a generation too', () => {
  const idsOf = (extra: GgufSpec['metadata']) => open(tinySpec('llama', extra)).config.eos_token_id;
  expect(idsOf([])).toBe(4);
  expect(idsOf([['tokenizer.ggml.eot_token_id', 'u32', 4]])).toBe(4);
  expect(idsOf([['tokenizer.ggml.eot_token_id', 'u32', 3]])).toEqual([4, 3]);
});

describe('architectures', () => {
  test('qwen2 has biases, and its rows are not permuted', () => {
    const spec = tinySpec('qwen2', [], true);
    const query = spec.tensors.find(({ name }) => name === 'blk.0.attn_q.weight')!;
    new Float32Array(query.data.buffer).set(Float32Array.from({ length: 64 }, (_, i) => i));
    const checkpoint = open(spec);
    expect(checkpoint.config).toMatchObject({
      model_type: 'qwen2',
      architectures: ['Qwen2ForCausalLM'],
      attention_bias: true,
      head_dim: 4,
    });
    expect([...checkpoint.read('model.layers.0.self_attn.q_proj.weight').data]).toEqual(
      Array.from({ length: 64 }, (_, i) => i),
    );
    expect(checkpoint.read('model.layers.0.self_attn.q_proj.bias')).toMatchObject({ rows: 1, columns: 8 });
    checkpoint.close();
  });

  test('rows of q and k, and their biases, are put back for llama', () => {
    const spec = tinySpec('llama', [], true);
    for (const { name, data } of spec.tensors) {
      if (/attn_[qk]\./.test(name))
        new Float32Array(data.buffer).set(Float32Array.from({ length: data.length / 4 }, (_, i) => i));
    }
    const checkpoint = open(spec);
    // Two heads of four rows: pairs (0, 2) and (1, 3) of a head were neighbours.
    const order = [0, 2, 1, 3, 4, 6, 5, 7];
    expect([...checkpoint.read('model.layers.0.self_attn.q_proj.bias').data]).toEqual(order);
    const weights = checkpoint.read('model.layers.0.self_attn.q_proj.weight');
    expect(order.map((row) => weights.data[row * 8]! / 8)).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].map((row) => order[order[row]!]),
    );
    expect([...checkpoint.read('model.layers.0.self_attn.k_proj.bias').data]).toEqual([0, 2, 1, 3]);
    checkpoint.close();
  });

  test('qwen3 has norms of q and k and its own size of heads', () => {
    const checkpoint = open(tinySpec('qwen3', [['qwen3.attention.key_length', 'u32', 4]]));
    expect(checkpoint.config).toMatchObject({ model_type: 'qwen3', head_dim: 4 });
    expect(checkpoint.tensors.has('model.layers.0.self_attn.q_norm.weight')).toBe(true);
    checkpoint.close();
  });

  test('tied embeddings, window, scalings of positions', () => {
    expect(open(tinySpec()).config).toMatchObject({ tie_word_embeddings: true, rope_scaling: null });
    const windowed = open(tinySpec('llama', [['llama.attention.sliding_window', 'u32', 32]]));
    expect(windowed.config).toMatchObject({ model_type: 'mistral', sliding_window: 32 });
    const linear = open(
      tinySpec('llama', [
        ['llama.rope.scaling.type', 'string', 'linear'],
        ['llama.rope.scaling.factor', 'f32', 4],
      ]),
    );
    expect(linear.config).toMatchObject({
      rope_scaling: { rope_type: 'linear', factor: 4 },
      rope_parameters: { rope_theta: 10_000, factor: 4 },
    });
    const yarn = open(
      tinySpec('qwen2', [
        ['qwen2.rope.scaling.type', 'string', 'yarn'],
        ['qwen2.rope.scaling.factor', 'f32', 2],
        ['qwen2.rope.scaling.original_context_length', 'u32', 32],
      ]),
    );
    expect(yarn.config.rope_scaling).toEqual({ rope_type: 'yarn', factor: 2, original_max_position_embeddings: 32 });
  });

  test.each([
    ['an architecture', tinySpec('gemma2'), 'gemma2'],
    ['a mixture of experts', tinySpec('llama', [['llama.expert_count', 'u32', 8]]), '8 experts'],
    [
      'partial rotation',
      tinySpec('llama', [
        ['llama.rope.dimension_count', 'u32', 2],
        ['llama.attention.key_length', 'u32', 4],
      ]),
      '2 of 4',
    ],
    ['heads that differ', tinySpec('llama', [['llama.attention.head_count_kv', '[]u32', [1, 2]]]), 'differs'],
    ['a scaling', tinySpec('llama', [['llama.rope.scaling.type', 'string', 'longrope']]), 'longrope'],
    ['a split file', tinySpec('llama', [['split.count', 'u16', 3]]), '3 parts'],
    ['an old version', { ...tinySpec(), version: 1 }, 'version 1'],
    ['big-endian', { ...tinySpec(), version: 0x03000000 }, 'big-endian'],
  ] as const)('%s that we do not know is refused by name', (_, spec, named) => {
    expect(errorOf(() => open(spec), 'file-unsupported').message).toContain(named);
  });

  test('tensors and types that we do not know are refused by name', () => {
    const spec = tinySpec();
    const fused = { ...spec.tensors[0]!, name: 'blk.0.attn_qkv.weight' };
    expect(errorOf(() => open({ ...spec, tensors: [...spec.tensors, fused] }), 'file-unsupported').message).toContain(
      'attn_qkv',
    );
    const typed = spec.tensors.map((tensor, i) =>
      i === 0 ? { ...tensor, type: 10 } : i === 1 ? { ...tensor, type: 77 } : tensor,
    );
    expect(errorOf(() => open({ ...spec, tensors: typed }), 'file-unsupported').message).toMatch(/Q2_K, number 77/);
  });
});

test('the scaling of Llama 3 is found again in its table', () => {
  const parameters = fc.record({
    factor: fc.integer({ min: 2, max: 64 }),
    high: fc.integer({ min: 2, max: 16 }),
    context: fc.integer({ min: 256, max: 32_768 }),
    theta: fc.constantFrom(10_000, 500_000, 1e6),
    half: fc.constantFrom(16, 32, 64, 128),
  });
  fc.assert(
    fc.property(parameters, ({ factor, high, context, theta, half }) => {
      const table = Float32Array.from({ length: half }, (_, i) => {
        const wavelength = 2 * Math.PI * theta ** (i / half);
        const smooth = Math.min(1, Math.max(0, (context / wavelength - 1) / (high - 1)));
        return 1 / ((1 - smooth) / factor + smooth);
      });
      const between = table.filter((value) => value > 1.0001 && value < factor * 0.9999).length;
      const scaling = llama3ScalingFromTable(table, theta);
      // One point does not make a line.
      if (between < 2 && !scaling) return;
      const found = scaling as unknown as {
        factor: number;
        low_freq_factor: number;
        high_freq_factor: number;
        original_max_position_embeddings: number;
      };
      expect(found.factor).toBe(factor);
      if (between < 2) return;
      expect(found.low_freq_factor).toBe(1);
      expect(found.high_freq_factor).toBeCloseTo(high, 1);
      expect(Math.abs(found.original_max_position_embeddings - context)).toBeLessThanOrEqual(1 + context * 1e-3);
    }),
  );
  expect(llama3ScalingFromTable(Float32Array.of(1, 1, 1), 10_000)).toBeUndefined();
  expect(llama3ScalingFromTable(Float32Array.of(1, 5, 2), 10_000)).toBeUndefined();
});
