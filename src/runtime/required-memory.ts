import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { bytesPerFloat } from '../formats/dtype.js';
import { elementCount } from '../linalg/element-count.js';
import type { LlamaModel } from '../models/llama/model.js';
import { headName } from '../models/llama/tensors.js';
import { cacheSlots } from './place-model.js';
import { keptType } from './weight-source.js';

/**
 * Bytes of everything in the runtime's memory but compressed products: dense weights in the type that is kept, and the
 * cache. From headers; scratch is small beside them.
 */
export function bytesBesideProducts({ config, checkpoint }: LlamaModel, capacity: number, chunk: number): number {
  const products = checkpoint instanceof CompressedCheckpoint ? checkpoint.products.values() : [];
  const factored = new Set([...products].flatMap(({ members }) => members.map(({ weight }) => weight)));
  let bytes = 0;
  for (const { name, shape, dtype, bytes: stored } of checkpoint.tensors.values()) {
    if (factored.has(name) || (name === headName && config.tiedHead)) continue;
    const type = keptType(dtype);
    bytes += type === dtype ? stored : bytesPerFloat(type) * elementCount(shape);
  }
  for (let layer = 0; layer < config.layers; layer++) {
    bytes += 8 * config.keyValueHeads * config.headSize * cacheSlots(config, layer, capacity, chunk);
  }
  return bytes;
}
