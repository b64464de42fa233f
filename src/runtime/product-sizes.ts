import type { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { bytesPerFloat } from '../formats/dtype.js';
import type { ProductSizes } from './representation.js';

/** What representations of a model's products cost depends on this alone. From headers. */
export function productSizes(checkpoint: CompressedCheckpoint): ProductSizes[] {
  return [...checkpoint.products.values()].map(({ name, factors, counts, dtype }) => ({
    name,
    factors: factors.map(({ shape }, i) => ({ rows: shape[0], columns: shape[1], values: counts[i] as number })),
    valueBytes: bytesPerFloat(dtype),
  }));
}
