import fs, { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { CompressedCheckpoint } from '../../../src/formats/container/checkpoint.js';
import { unpackFactor } from '../../../src/formats/container/packed-factor.js';
import { ContainerWriter, planProduct } from '../../../src/formats/container/writer.js';
import { writeDenseCheckpoint } from '../../../src/formats/dense-writer.js';
import { openCheckpoint } from '../../../src/formats/open-checkpoint.js';
import { SafetensorsCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import type { Matrix } from '../../../src/linalg/matrix.js';
import '../../helpers.js';
import { errorOf } from '../expect-error.js';
import { temporaryFolder } from '../temporary-folder.js';
import { denseProduct, rowsOf, sparseMatrix, writeTinyModel } from '../tiny-model.js';

const folder = temporaryFolder();
const block = 'model.layers.0';
const source = new SafetensorsCheckpoint(writeTinyModel(join(folder, 'source')));
const writeSync = fs.writeSync;
afterEach(() => {
  fs.writeSync = writeSync;
  syncBuiltinESMExports();
});

// q, k and v share B; down_proj is a product alone; o_proj is pruned.
const factors: Record<string, Matrix[]> = {
  [`${block}.self_attn.qkv_proj`]: [sparseMatrix(40, 15, 1), sparseMatrix(15, 20, 2)],
  [`${block}.mlp.down_proj`]: [sparseMatrix(20, 20, 3), sparseMatrix(20, 41, 4)],
  [`${block}.self_attn.o_proj`]: [sparseMatrix(20, 20, 5)],
};
const attention = ['q', 'k', 'v'].map((letter, i) => ({
  weight: `${block}.self_attn.${letter}_proj.weight`,
  rows: [20, 10, 10][i]!,
}));
const plans = Object.entries(factors).map(([name, list]) =>
  planProduct(name, list, name.endsWith('qkv_proj') ? attention : [{ weight: `${name}.weight`, rows: 20 }]),
);

function compress(name: string, options: ConstructorParameters<typeof ContainerWriter>[3] = {}): string {
  const target = join(folder, name);
  const writer = new ContainerWriter(target, source, plans, options);
  for (const [product, list] of Object.entries(factors))
    expect(writer.writeProduct(product, list)).toEqual(list.map(() => 0));
  writer.finish();
  return target;
}

const target = compress('compressed', { settings: { method: 'dsf', sparsity: 0.6 } });

test('the folder says what it is, and has the side files byte for byte', () => {
  const config = JSON.parse(readFileSync(join(target, 'config.json'), 'utf8'));
  expect(config).toEqual({
    ...source.config,
    model_type: 'double-sparse',
    architectures: ['double-sparse'],
    quantization_config: {
      quant_method: 'double-sparse',
      version: 1,
      method: 'dsf',
      sparsity: 0.6,
      source: { model_type: 'llama', architectures: ['LlamaForCausalLM'] },
    },
  });
  expect(readdirSync(target).sort()).toEqual(
    [
      'LICENSE',
      'chat_template.jinja',
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ].sort(),
  );
  for (const name of ['LICENSE', 'tokenizer.json', 'chat_template.jinja'])
    expect(readFileSync(join(target, name))).toEqual(readFileSync(join(source.path, name)));
});

test('weights come back as products, stacked ones as their rows of them, everything else as it was', () => {
  const checkpoint = openCheckpoint(target) as CompressedCheckpoint;
  expect(checkpoint.format).toBe('double-sparse');
  checkpoint.verify();
  expect([...checkpoint.tensors.keys()].sort()).toEqual([...source.tensors.keys()].sort());
  for (const [name, { shape }] of checkpoint.tensors) expect(shape).toEqual(source.tensors.get(name)?.shape);
  const [a, b] = factors[`${block}.self_attn.qkv_proj`]! as [Matrix, Matrix];
  const stacked = denseProduct(a, b);
  let row = 0;
  for (const { weight, rows } of attention) {
    expect(checkpoint.read(weight).data).toHaveSameBits(rowsOf(stacked, row, row + rows).data);
    const [ownA, sharedB] = checkpoint.readFactors(weight);
    expect(ownA?.data).toHaveSameBits(rowsOf(a, row, row + rows).data);
    expect(sharedB?.data).toHaveSameBits(b.data);
    row += rows;
  }
  const whole = checkpoint.readProduct(`${block}.self_attn.qkv_proj`).map((factor) => unpackFactor(factor).data);
  expect(whole[0]).toHaveSameBits(a.data);
  const [pruned] = factors[`${block}.self_attn.o_proj`]!;
  expect(checkpoint.read(`${block}.self_attn.o_proj.weight`).data).toHaveSameBits(pruned!.data);
  for (const name of ['model.embed_tokens.weight', 'model.norm.weight', `${block}.input_layernorm.weight`])
    expect(checkpoint.read(name)).toEqual(source.read(name));
  expect(checkpoint.tokenizerFiles()).toEqual(source.tokenizerFiles());
  errorOf(() => checkpoint.readFactors('model.norm.weight'), 'unknown-name');
  errorOf(() => checkpoint.readProduct('nothing'), 'unknown-name');
  checkpoint.close();
});

test('a multiplication that is given is used', () => {
  let calls = 0;
  const checkpoint = new CompressedCheckpoint(target, {
    multiply: (a, b, into) => {
      calls++;
      into.data.set(denseProduct(a, b).data);
    },
  });
  const name = `${block}.mlp.down_proj`;
  const [a, b] = factors[name]! as [Matrix, Matrix];
  expect(checkpoint.read(`${name}.weight`).data).toHaveSameBits(denseProduct(a, b).data);
  expect(calls).toBe(1);
  checkpoint.close();
});

test('the bytes of all tensors are those of the file', () => {
  const checkpoint = new CompressedCheckpoint(target);
  const file = join(target, 'model.safetensors');
  const headerBytes = 8 + Number(readFileSync(file).readBigUInt64LE(0));
  const total = [...checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  expect(total + headerBytes).toBe(statSync(file).size);
  const { nonzeros, denseBytes, dtype } = checkpoint.compression.get(attention[1]!.weight)!;
  expect({ nonzeros, denseBytes, dtype }).toEqual({
    nonzeros: [plans[0]!.members[1]!.nonzeros, plans[0]!.factors[1]!.nonzeros],
    denseBytes: 10 * 20 * 2,
    dtype: 'BF16',
  });
  checkpoint.close();
});

test('shards hold whole products and are found again', () => {
  const sharded = compress('sharded', { maximumShardBytes: 1000 });
  expect(readdirSync(sharded).filter((name) => name.startsWith('model-')).length).toBeGreaterThan(2);
  const checkpoint = openCheckpoint(sharded) as CompressedCheckpoint;
  const single = openCheckpoint(target);
  checkpoint.verify();
  for (const name of single.tensors.keys()) expect(checkpoint.read(name)).toEqual(single.read(name));
  checkpoint.close();
  single.close();
});

test('a dense copy has the products in the type of the values', () => {
  const compressed = new CompressedCheckpoint(target);
  const seen: string[] = [];
  writeDenseCheckpoint(compressed, join(folder, 'dense'), { onTensor: ({ name }) => seen.push(name) });
  const dense = openCheckpoint(join(folder, 'dense'));
  expect(dense.format).toBe('safetensors');
  expect(dense.config).toEqual(source.config);
  expect(seen).toEqual([...compressed.tensors.keys()]);
  for (const [name, tensor] of dense.tensors) {
    expect(tensor.dtype).toBe('BF16');
    expect(dense.read(name)).toBeAllclose(compressed.read(name), { rtol: 2 ** -8 });
  }
  dense.close();
  compressed.close();
});

test('the same input gives the same bytes', () => {
  const again = compress('again', { settings: { method: 'dsf', sparsity: 0.6 } });
  for (const name of readdirSync(target))
    expect(readFileSync(join(again, name))).toEqual(readFileSync(join(target, name)));
});

test('a model is not replaced unless asked, and then wholly', () => {
  errorOf(() => compress('sharded'), 'file-exists');
  compress('sharded', { replace: true });
  expect(readdirSync(join(folder, 'sharded')).filter((name) => /^model/.test(name))).toEqual(['model.safetensors']);
  errorOf(() => new ContainerWriter(source.path, source, plans, { replace: true }), 'option-out-of-range');
});

test('plans that do not fit are refused before anything is written', () => {
  const [first] = plans as [(typeof plans)[0]];
  const wrong = [
    [{ ...first, members: first.members.slice(1) }],
    [{ ...first, factors: first.factors.slice(0, 1) }],
    [{ ...first, members: first.members.map((member) => ({ ...member, weight: 'model.nothing.weight' })) }],
    [first, first],
    [first, { ...first, name: 'other' }],
  ];
  for (const plan of wrong)
    errorOf(() => new ContainerWriter(join(folder, 'never'), source, plan), 'option-out-of-range');
  expect(existsSync(join(folder, 'never'))).toBe(false);
});

test('factors that are not as planned, or missing, are refused', () => {
  const writer = new ContainerWriter(join(folder, 'partly'), source, plans);
  const name = `${block}.self_attn.o_proj`;
  errorOf(() => writer.writeProduct(name, [sparseMatrix(20, 20, 6)]), 'shape-mismatch');
  errorOf(() => writer.writeProduct('other', []), 'unknown-name');
  errorOf(() => writer.finish(), 'option-out-of-range');
  writer.abort();
  expect(readdirSync(join(folder, 'partly'))).toEqual([]);
});

test('a full disk is said and leaves the folder as it was', () => {
  const writer = new ContainerWriter(join(folder, 'full'), source, plans);
  for (const [product, list] of Object.entries(factors)) writer.writeProduct(product, list);
  fs.writeSync = (() => {
    throw Object.assign(new Error('made up'), { code: 'ENOSPC' });
  }) as typeof fs.writeSync;
  syncBuiltinESMExports();
  errorOf(() => writer.finish(), 'disk-full');
  expect(readdirSync(join(folder, 'full'))).toEqual([]);
});

test('an infinite value in fp16 is an error that names it', () => {
  const name = `${block}.self_attn.o_proj`;
  const large = sparseMatrix(20, 20, 5);
  large.data[large.data.findIndex((value) => value !== 0)] = 1e5;
  const plan = planProduct(name, [large], [{ weight: `${name}.weight`, rows: 20 }], 'F16');
  const writer = new ContainerWriter(join(folder, 'large'), source, [plan]);
  expect(errorOf(() => writer.writeProduct(name, [large]), 'non-finite-value').message).toContain(`${name}.A`);
  writer.abort();
});

test('factors without a nonzero', () => {
  const name = `${block}.self_attn.o_proj`;
  const members = [{ weight: `${name}.weight`, rows: 20 }];
  const empty = [sparseMatrix(20, 5, 1, 0), sparseMatrix(5, 20, 1, 0)];
  const writer = new ContainerWriter(join(folder, 'empty'), source, [planProduct(name, empty, members)], {
    maximumShardBytes: 1,
  });
  writer.writeProduct(name, empty);
  writer.finish();
  const checkpoint = new CompressedCheckpoint(join(folder, 'empty'));
  checkpoint.verify();
  expect(checkpoint.read(`${name}.weight`).data).toHaveSameBits(new Float32Array(400));
  checkpoint.close();
});

test('from GGUF: values and quantised tensors become fp16, the tokenizer gets its files', () => {
  const gguf = openCheckpoint(join(import.meta.dirname, '../golden/tiny-llama.gguf'));
  const down = sparseMatrix(64, 96, 9, 0.3);
  const name = `${block}.mlp.down_proj`;
  const writer = new ContainerWriter(join(folder, 'from-gguf'), gguf, [
    planProduct(name, [down], [{ weight: `${name}.weight`, rows: 64 }]),
  ]);
  writer.writeProduct(name, [down]);
  writer.finish();
  const checkpoint = openCheckpoint(join(folder, 'from-gguf')) as CompressedCheckpoint;
  checkpoint.verify();
  expect(checkpoint.read(`${name}.weight`).data).toHaveSameBits(down.data);
  const typeOf = (tensor: string) => checkpoint.tensors.get(tensor)?.dtype;
  expect(
    [`${name}.weight`, 'model.embed_tokens.weight', 'model.norm.weight', `${block}.self_attn.k_proj.weight`].map(
      typeOf,
    ),
  ).toEqual(['F16', 'F16', 'F32', 'BF16']);
  for (const tensor of gguf.tensors.keys()) {
    if (tensor !== `${name}.weight`)
      expect(checkpoint.read(tensor)).toBeAllclose(gguf.read(tensor), { rtol: 2 ** -11, atol: 2 ** -25 });
  }
  const { tokenizer, config } = gguf.tokenizerFiles();
  expect(checkpoint.tokenizerFiles()).toEqual(JSON.parse(JSON.stringify({ tokenizer, config })));
  const { quantization_config: _, ...rest } = checkpoint.config;
  expect(rest).toEqual(gguf.config);
  checkpoint.close();
  writeDenseCheckpoint(gguf, join(folder, 'dense-gguf'));
  const dense = openCheckpoint(join(folder, 'dense-gguf'));
  expect(dense.read(`${block}.self_attn.q_proj.weight`)).toBeAllclose(gguf.read(`${block}.self_attn.q_proj.weight`), {
    rtol: 2 ** -11,
    atol: 2 ** -25,
  });
  dense.close();
  gguf.close();
});
