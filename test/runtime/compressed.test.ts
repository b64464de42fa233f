import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ContainerWriter, planProduct } from '../../src/formats/container/writer.js';
import { SafetensorsCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import { Compute } from '../../src/linalg/compute.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import type { Matrix } from '../../src/linalg/matrix.js';
import { parseLlamaConfig } from '../../src/models/llama/config.js';
import { openModel } from '../../src/models/llama/open-model.js';
import { blockTensor, linearShape } from '../../src/models/llama/tensors.js';
import { loadTokenModel } from '../../src/runtime/load-model.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { sparseMatrix } from '../formats/tiny-model.js';

const source = new SafetensorsCheckpoint(join(import.meta.dirname, '../models/golden/llama-linear-rope-biases'));
const config = parseLlamaConfig(source.config);
const attention = ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'] as const;

/** In layer 0 q, k and v share B, o is pruned and down is a product; in layer 1 q and v are products of their own. */
const products: { name: string; factors: Matrix[]; members: { weight: string; rows: number }[] }[] = [
  {
    name: 'model.layers.0.self_attn.qkv_proj',
    factors: [
      sparseMatrix(
        attention.reduce((sum, name) => sum + linearShape(config, name)[0], 0),
        19,
        1,
      ),
      sparseMatrix(19, config.hiddenSize, 2),
    ],
    members: attention.map((name) => ({ weight: blockTensor(0, name), rows: linearShape(config, name)[0] })),
  },
  alone(0, 'self_attn.o_proj', [sparseMatrix(...linearShape(config, 'self_attn.o_proj'), 3)]),
  pair(0, 'mlp.down_proj', 4),
  pair(1, 'self_attn.q_proj', 5),
  pair(1, 'self_attn.v_proj', 6),
];

function alone(layer: number, name: Parameters<typeof linearShape>[1], factors: Matrix[]) {
  const weight = blockTensor(layer, name);
  return { name: weight.replace('.weight', ''), factors, members: [{ weight, rows: linearShape(config, name)[0] }] };
}

function pair(layer: number, name: Parameters<typeof linearShape>[1], seed: number) {
  const [rows, columns] = linearShape(config, name);
  return alone(layer, name, [sparseMatrix(rows, 13, seed), sparseMatrix(13, columns, 10 * seed)]);
}

const target = join(temporaryFolder(), 'compressed');
const writer = new ContainerWriter(
  target,
  source,
  products.map(({ name, factors, members }) => planProduct(name, factors, members)),
  {},
);
for (const { name, factors } of products) writer.writeProduct(name, factors);
writer.finish();

const ids = Array.from({ length: 12 }, (_, i) => (i * 37 + 5) % 60);
const oracle = openModel(target).logits(ids, new Compute(createEngine('wasm')));
const open: { close(): Promise<void> }[] = [];
afterAll(() => Promise.all(open.map((model) => model.close())));

describe('a compressed model', () => {
  // fp32 sums in another order; the product A·B rounded to fp16 loses 11 bits.
  it.each([
    { representation: 'stored', tolerance: 1e-5 },
    { representation: 'indexed', tolerance: 1e-5 },
    { representation: 'dense', tolerance: 1e-2 },
    { representation: { 'model.layers.0.self_attn.qkv_proj': 'indexed' } as const, tolerance: 1e-5 },
  ] as const)('has the logits of its expanded weights, $representation', async ({ representation, tolerance }) => {
    const { model, plan } = await loadTokenModel(target, { threads: 2, engine: 'wasm', representation, capacity: 16 });
    open.push(model);
    const wanted = (name: string) =>
      typeof representation === 'string' ? representation : name.endsWith('qkv_proj') ? 'indexed' : 'stored';
    expect(plan).toEqual(Object.fromEntries(products.map(({ name }) => [name, wanted(name)])));
    const { columns } = oracle;
    const rows: Float32Array[] = [await model.extend([ids[0] as number]).then((logits) => logits.slice())];
    const all = await model.extendAll(ids.slice(1));
    for (let row = 0; row < all.rows; row++) rows.push(all.data.subarray(row * columns, (row + 1) * columns));
    for (const [row, logits] of rows.entries()) {
      const expected = oracle.data.subarray(row * columns, (row + 1) * columns);
      const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const worst = logits.reduce((most, value, i) => Math.max(most, Math.abs(value - (expected[i] as number))), 0);
      expect(worst / scale, `position ${row}`).toBeLessThan(tolerance);
    }
  });
});
