import type { Checkpoint, CheckpointTensor } from '../../../src/formats/checkpoint.js';
import type { Matrix } from '../../../src/linalg/matrix.js';
import { type LlamaConfig, parseLlamaConfig } from '../../../src/models/llama/config.js';
import { expectedTensors } from '../../../src/models/llama/tensors.js';
import { fillRandom } from '../../helpers.js';

/** config.json of a small model with every kind of tensor that a LLaMA has. */
export const smallConfig = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 50,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
  attention_bias: true,
  mlp_bias: true,
};

/** A model in memory. `values` may be changed between reads. */
export interface MemoryCheckpoint extends Checkpoint {
  readonly tensors: Map<string, CheckpointTensor>;
  readonly values: Map<string, Float32Array>;
}

/** Random weights for a configuration, large enough that attention and gates do something. */
export function memoryCheckpoint(config: Readonly<Record<string, unknown>> = smallConfig): MemoryCheckpoint {
  const description: LlamaConfig = parseLlamaConfig(config);
  const tensors = new Map<string, CheckpointTensor>();
  const values = new Map<string, Float32Array>();
  for (const [name, shape] of expectedTensors(description)) {
    const length = shape.reduce((product, size) => product * size, 1);
    tensors.set(name, { name, shape, dtype: 'F32', bytes: 4 * length });
    const data = fillRandom(new Float32Array(length), tensors.size);
    values.set(name, name.includes('norm') ? data.map((x) => 1 + 0.3 * x) : data.map((x) => 0.5 * x));
  }
  return {
    path: 'memory',
    format: 'safetensors',
    config,
    tensors,
    values,
    read(name, allocate): Matrix {
      const data = values.get(name);
      const shape = tensors.get(name)?.shape;
      if (!data || !shape) throw new Error(`no ${name}`);
      const [rows, columns] = shape.length === 1 ? [1, shape[0]!] : [shape[0]!, shape[1]!];
      const target = allocate?.(rows, columns) ?? { rows, columns, data: new Float32Array(rows * columns) };
      target.data.set(data);
      return target;
    },
    tokenizerFiles() {
      throw new Error('no tokenizer');
    },
    close() {},
  };
}
