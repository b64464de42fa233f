import { join } from 'node:path';
import { ContainerWriter, planProduct } from '../../src/formats/container/writer.js';
import { SafetensorsCheckpoint } from '../../src/formats/safetensors/checkpoint.js';
import { type Matrix, zeros } from '../../src/linalg/matrix.js';
import { parseLlamaConfig } from '../../src/models/llama/config.js';
import { blockTensor, linearNames } from '../../src/models/llama/tensors.js';
import { root } from '../cli/run-dsf.js';

/** The embedded checkpoint. */
export const embedded = join(root, 'models/sotu-m');

/** Writes the embedded checkpoint with the smaller half of its linear weights left out, as A·B: B is a permutation. */
export function writePrunedModel(folder: string): string {
  const source = new SafetensorsCheckpoint(embedded);
  const { layers } = parseLlamaConfig(source.config);
  const weights = Array.from({ length: layers }, (_, layer) =>
    linearNames.map((name) => blockTensor(layer, name)),
  ).flat();
  const products = weights.map((weight) => {
    const a = withoutSmallHalf(source.read(weight));
    const factors = [reversed(a), reversed(identity(a.columns))];
    return planProduct(weight.replace('.weight', ''), factors, [{ weight, rows: a.rows }]);
  });
  const writer = new ContainerWriter(folder, source, products, {});
  for (const [i, { name }] of products.entries()) {
    const a = withoutSmallHalf(source.read(weights[i] as string));
    writer.writeProduct(name, [reversed(a), reversed(identity(a.columns))]);
  }
  writer.finish();
  source.close();
  return folder;
}

function withoutSmallHalf({ rows, columns, data }: Matrix): Matrix {
  const median = data.map(Math.abs).sort()[data.length >> 1] as number;
  return { rows, columns, data: data.map((value) => (Math.abs(value) < median ? 0 : value)) };
}

/** Columns in the opposite order. */
function reversed({ rows, columns, data }: Matrix): Matrix {
  const at = (i: number): number => i - (i % columns) + columns - 1 - (i % columns);
  return { rows, columns, data: data.map((_, i) => data[at(i)] as number) };
}

function identity(size: number): Matrix {
  const result = zeros(size, size);
  for (let i = 0; i < size; i++) result.data[i * (size + 1)] = 1;
  return result;
}
