import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ShardedWriter } from '../../src/formats/safetensors/sharded-writer.js';
import { type Matrix, matrix } from '../../src/linalg/matrix.js';
import { seededRandom } from '../helpers.js';

export interface TinyTensor {
  readonly name: string;
  readonly dtype: 'F32' | 'F16' | 'BF16';
  readonly shape: readonly number[];
}

/** One block of a model with grouped-query attention: hidden 24, inner 40. Column counts are not multiples of 8. */
const tinyTensors: readonly TinyTensor[] = (
  [
    ['model.embed_tokens.weight', [50, 20]],
    ['model.layers.0.input_layernorm.weight', [20]],
    ['model.layers.0.self_attn.q_proj.weight', [20, 20]],
    ['model.layers.0.self_attn.k_proj.weight', [10, 20]],
    ['model.layers.0.self_attn.v_proj.weight', [10, 20]],
    ['model.layers.0.self_attn.o_proj.weight', [20, 20]],
    ['model.layers.0.mlp.down_proj.weight', [20, 41]],
    ['model.norm.weight', [20]],
  ] as const
).map(([name, shape]) => ({ name, dtype: 'BF16', shape }));

/** Writes a Hugging Face folder with random weights and side files. */
export function writeTinyModel(folder: string, tensors = tinyTensors, maximumShardBytes = 1e9): string {
  mkdirSync(folder, { recursive: true });
  const writer = new ShardedWriter(
    folder,
    tensors.map((tensor) => ({ tensors: [tensor] })),
    { maximumShardBytes },
  );
  const random = seededRandom(5);
  for (const { name, shape } of tensors) {
    const count = shape.reduce((product, length) => product * length, 1);
    writer.writeFloats(
      name,
      Float32Array.from({ length: count }, () => random() - 0.5),
    );
  }
  writer.commit();
  const config = { model_type: 'llama', architectures: ['LlamaForCausalLM'], hidden_size: 20, dtype: 'bfloat16' };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'tokenizer.json'), '{"version": "1.0" }');
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"bos_token":"<s>"}');
  writeFileSync(join(folder, 'chat_template.jinja'), 'template');
  writeFileSync(join(folder, 'LICENSE'), 'do what you like\n');
  writeFileSync(join(folder, 'pytorch_model.bin'), 'not to be copied');
  return folder;
}

/** Random entries, each nonzero with probability `density`; values survive BF16 and F16. */
export function sparseMatrix(rows: number, columns: number, seed: number, density = 0.4): Matrix {
  const random = seededRandom(seed);
  const entry = () => (random() < density ? (Math.floor(random() * 255) - 127 || 1) / 64 : 0);
  return matrix(rows, columns, Float32Array.from({ length: rows * columns }, entry));
}

/** The product, in float64, by the definition. */
export function denseProduct(a: Matrix, b: Matrix): Matrix {
  const data = new Float32Array(a.rows * b.columns);
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < b.columns; j++) {
      let sum = 0;
      for (let k = 0; k < a.columns; k++) sum += a.data[i * a.columns + k]! * b.data[k * b.columns + j]!;
      data[i * b.columns + j] = sum;
    }
  }
  return { rows: a.rows, columns: b.columns, data };
}

/** Some rows of a matrix. */
export function rowsOf({ columns, data }: Matrix, from: number, to: number): Matrix {
  return { rows: to - from, columns, data: data.slice(from * columns, to * columns) };
}
