/** Writes small GGUF files for tests, valid or not. */

type Value = number | bigint | boolean | string | readonly Value[];

const typeIds = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
};
/** A scalar type, or `[]` and the type of the items. */
type ValueType = keyof typeof typeIds | `[]${keyof typeof typeIds}`;

export interface GgufTensorSpec {
  readonly name: string;
  /** In the order of the file: fastest first. */
  readonly shape: readonly (number | bigint)[];
  readonly type: number;
  readonly data: Uint8Array;
  readonly offset?: number | bigint;
}

export interface GgufSpec {
  readonly version?: number;
  readonly metadata: readonly (readonly [string, ValueType, Value])[];
  readonly tensors: readonly GgufTensorSpec[];
  readonly tensorCount?: number | bigint;
  readonly entryCount?: number | bigint;
  readonly alignment?: number;
}

export function buildGguf(spec: GgufSpec): Buffer {
  const parts: Buffer[] = [Buffer.from('GGUF'), u32(spec.version ?? 3)];
  parts.push(u64(spec.tensorCount ?? spec.tensors.length), u64(spec.entryCount ?? spec.metadata.length));
  for (const [key, type, value] of spec.metadata) parts.push(text(key), typed(type, value));
  const alignment = spec.alignment ?? 32;
  let offset = 0;
  for (const tensor of spec.tensors) {
    parts.push(text(tensor.name), u32(tensor.shape.length), ...tensor.shape.map(u64), u32(tensor.type));
    parts.push(u64(tensor.offset ?? offset));
    offset = Math.ceil((offset + tensor.data.byteLength) / alignment) * alignment;
  }
  const pad = (length: number) => Buffer.alloc((alignment - (length % alignment)) % alignment);
  const header = Buffer.concat(parts);
  const data = spec.tensors.flatMap((tensor) => [Buffer.from(tensor.data), pad(tensor.data.byteLength)]);
  return Buffer.concat([header, pad(header.byteLength), ...data]);
}

function typed(type: ValueType, value: Value): Buffer {
  if (!type.startsWith('[]')) {
    const scalar = type as keyof typeof typeIds;
    return Buffer.concat([u32(typeIds[scalar]), encode(scalar, value)]);
  }
  const item = type.slice(2) as keyof typeof typeIds;
  const items = value as readonly Value[];
  return Buffer.concat([u32(9), u32(typeIds[item]), u64(items.length), ...items.map((each) => encode(item, each))]);
}

function encode(type: keyof typeof typeIds, value: Value): Buffer {
  const buffer = Buffer.alloc(8);
  switch (type) {
    case 'string':
      return text(value as string);
    case 'u8':
    case 'i8':
    case 'bool':
      return buffer.subarray(0, buffer.writeUInt8(Number(value) & 0xff));
    case 'u16':
    case 'i16':
      return buffer.subarray(0, buffer.writeUInt16LE(Number(value) & 0xffff));
    case 'u32':
    case 'i32':
      return u32(Number(value));
    case 'f32':
      return buffer.subarray(0, buffer.writeFloatLE(Number(value)));
    case 'f64':
      return buffer.subarray(0, buffer.writeDoubleLE(Number(value)));
    case 'array':
      throw new Error('arrays of arrays are not built');
    default:
      return u64(BigInt.asUintN(64, BigInt(value as number)));
  }
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.byteLength), bytes]);
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value >>> 0);
  return buffer;
}

function u64(value: number | bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return buffer;
}

/** A whole model of one block with zero weights, in F32: hidden 8, 2 heads, 1 of keys, inner 12, 6 tokens. */
export function tinySpec(architecture = 'llama', extra: GgufSpec['metadata'] = [], bias = false): GgufSpec {
  const tensor = (name: string, ...shape: number[]): GgufTensorSpec => ({
    name,
    shape,
    type: 0,
    data: new Uint8Array(4 * shape.reduce((product, length) => product * length, 1)),
  });
  const norms =
    architecture === 'qwen3' ? [tensor('blk.0.attn_q_norm.weight', 4), tensor('blk.0.attn_k_norm.weight', 4)] : [];
  const overridden = new Set(extra.map(([key]) => key));
  const metadata: GgufSpec['metadata'] = [
    ['general.architecture', 'string', architecture],
    [`${architecture}.context_length`, 'u32', 64],
    [`${architecture}.embedding_length`, 'u32', 8],
    [`${architecture}.block_count`, 'u32', 1],
    [`${architecture}.feed_forward_length`, 'u32', 12],
    [`${architecture}.attention.head_count`, 'u32', 2],
    [`${architecture}.attention.head_count_kv`, 'u32', 1],
    [`${architecture}.attention.layer_norm_rms_epsilon`, 'f32', 1e-6],
    [`${architecture}.rope.freq_base`, 'f32', 10_000],
    ['tokenizer.ggml.model', 'string', 'gpt2'],
    ['tokenizer.ggml.pre', 'string', 'qwen2'],
    ['tokenizer.ggml.tokens', '[]string', ['a', 'b', 'Ġ', 'ab', '<|end|>', '[PAD5]']],
    ['tokenizer.ggml.token_type', '[]i32', [1, 1, 1, 1, 3, 5]],
    ['tokenizer.ggml.merges', '[]string', ['a b']],
    ['tokenizer.ggml.eos_token_id', 'u32', 4],
  ];
  return {
    metadata: [...metadata.filter(([key]) => !overridden.has(key)), ...extra],
    tensors: [
      tensor('token_embd.weight', 8, 6),
      tensor('output_norm.weight', 8),
      tensor('blk.0.attn_norm.weight', 8),
      tensor('blk.0.attn_q.weight', 8, 8),
      tensor('blk.0.attn_k.weight', 8, 4),
      tensor('blk.0.attn_v.weight', 8, 4),
      tensor('blk.0.attn_output.weight', 8, 8),
      ...(bias ? [tensor('blk.0.attn_q.bias', 8), tensor('blk.0.attn_k.bias', 4), tensor('blk.0.attn_v.bias', 4)] : []),
      ...norms,
      tensor('blk.0.ffn_norm.weight', 8),
      tensor('blk.0.ffn_gate.weight', 8, 12),
      tensor('blk.0.ffn_up.weight', 8, 12),
      tensor('blk.0.ffn_down.weight', 12, 8),
    ],
  };
}
