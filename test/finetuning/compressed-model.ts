import { ContainerWriter, planProduct } from '../../src/formats/container/writer.js';
import { openCheckpoint } from '../../src/formats/open-checkpoint.js';
import { type Matrix, stackRows } from '../../src/linalg/matrix.js';
import { seededRandom } from '../helpers.js';

/** The largest entries stay, about `density` of them. */
function pruned(source: Matrix, density: number): Matrix {
  const magnitudes = source.data.map(Math.abs).sort();
  const limit = magnitudes[Math.floor((1 - density) * magnitudes.length)] as number;
  return { ...source, data: source.data.map((value) => (Math.abs(value) < limit ? 0 : value)) };
}

/** Ones on the diagonal, small numbers at some places beside it. */
function nearIdentity(size: number, seed: number): Matrix {
  const random = seededRandom(seed);
  const data = new Float32Array(size * size);
  for (let i = 0; i < data.length; i++) if (random() < 0.05) data[i] = 0.03 * (random() + 0.1);
  for (let i = 0; i < size; i++) data[i * (size + 1)] = 1;
  return { rows: size, columns: size, data };
}

/**
 * Compresses a dense model crudely but quickly: q, k and v stacked with one B, other weights alone as A·B, except the
 * output projection of attention (A alone) and, in the last block, `down` (kept dense).
 */
export function writeCrudeModel(source: string, folder: string, density = 0.3): string {
  const checkpoint = openCheckpoint(source);
  const layers = checkpoint.config.num_hidden_layers as number;
  const products = Array.from({ length: layers }, (_, layer) => {
    const prefix = `model.layers.${layer}`;
    const sets = [
      ['self_attn.qkv_proj', ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj']],
      ...['self_attn.o_proj', 'mlp.gate_proj', 'mlp.up_proj'].map((name) => [name, [name]] as const),
      ...(layer + 1 < layers ? [['mlp.down_proj', ['mlp.down_proj']] as const] : []),
    ] as const;
    return sets.map(([name, members], index) => {
      const weights = members
        .map((member) => ({ name: `${prefix}.${member}.weight` }))
        .map(({ name: weight }) => ({ weight, matrix: checkpoint.read(weight) }));
      const a = pruned(stackRows(weights.map(({ matrix }) => matrix)), density);
      const factors = name === 'self_attn.o_proj' ? [a] : [a, nearIdentity(a.columns, 10 * layer + index)];
      const plan = planProduct(
        `${prefix}.${name}`,
        factors,
        weights.map(({ weight, matrix }) => ({ weight, rows: matrix.rows })),
      );
      return { plan, factors };
    });
  }).flat();
  const writer = new ContainerWriter(
    folder,
    checkpoint,
    products.map(({ plan }) => plan),
  );
  for (const { plan, factors } of products) writer.writeProduct(plan.name, factors);
  writer.finish();
  checkpoint.close();
  return folder;
}
