import { maskStride } from '../formats/container/bitmask.js';
import type { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { factorTensors, type StoredProduct } from '../formats/container/description.js';
import { checkFactor } from '../formats/container/packed-factor.js';
import { readBitmaskInto } from '../formats/container/stored-factor.js';
import { bytesPerFloat } from '../formats/dtype.js';
import { maximumIndexedColumns } from './indexed-factor.js';
import { countRowStarts, placeIndexed, reserveBitmask } from './place-factor.js';
import type { Representation } from './representation.js';
import type { RuntimeMemory } from './runtime-memory.js';
import { type DenseMatrix, rowsOfStored, type StoredMatrix } from './stored-matrix.js';
import { placeEncoded, requireFinite } from './weight-source.js';

/** A product in the runtime's memory. */
export interface PlacedProduct {
  /** What it came to: fp32 factors, and those of more columns than are counted, stay as they are stored. */
  readonly representation: Representation;
  /** B, if the product has two factors and is not expanded. */
  readonly inner: StoredMatrix | undefined;
  /** Rows of A (or of A·B) of each member, by the name of its weight. */
  readonly members: ReadonlyMap<string, StoredMatrix>;
}

/** @throws DoubleSparseError `file-malformed`, `non-finite-value`, `out-of-memory` */
export function placeProduct(
  memory: RuntimeMemory,
  checkpoint: CompressedCheckpoint,
  product: StoredProduct,
  wanted: Representation,
): PlacedProduct {
  if (wanted === 'dense') return placeExpanded(memory, checkpoint, product);
  const countable = product.factors.every(({ shape }) => shape[1] <= maximumIndexedColumns);
  const representation = wanted === 'indexed' && product.dtype !== 'F32' && countable ? 'indexed' : 'stored';
  const [a, b] =
    representation === 'indexed'
      ? checkpoint.readProduct(product.name).map((factor, index) => {
          requireFinite(factor.values, factor.dtype, `${product.name}.${product.factors[index]!.name}`);
          return placeIndexed(memory, factor);
        })
      : product.factors.map((_, index) => placeStored(memory, product, index));
  const members = new Map<string, StoredMatrix>();
  let first = 0;
  for (const { weight, rows } of product.members) {
    members.set(weight, rowsOfStored(a as StoredMatrix, first, rows));
    first += rows;
  }
  return { representation, inner: b, members };
}

/** A factor read straight into the memory. */
function placeStored(memory: RuntimeMemory, product: StoredProduct, index: number): StoredMatrix {
  const { name: factor, shape } = product.factors[index]!;
  const { dtype, file, counts } = product;
  const [rows, columns] = shape;
  const names = factorTensors(product.name, factor);
  const valueBytes = (counts[index] as number) * bytesPerFloat(dtype);
  const matrix = reserveBitmask(memory, { rows, columns, dtype }, valueBytes);
  const values = memory.bytes(matrix.values, valueBytes);
  const bitmask = memory.bytes(matrix.mask, rows * maskStride(columns));
  file.readInto(names.values, values);
  readBitmaskInto(product, index, bitmask);
  // A mask of more bits than values would let the kernels read what is behind them.
  const bits = countRowStarts(memory, matrix);
  checkFactor({ rows, columns, dtype, values, bitmask, vanished: 0 }, `${product.name}.${factor}`, bits);
  requireFinite(values, dtype, `${product.name}.${factor}`);
  return matrix;
}

function placeExpanded(memory: RuntimeMemory, checkpoint: CompressedCheckpoint, product: StoredProduct): PlacedProduct {
  const members = new Map<string, DenseMatrix>();
  for (const { weight } of product.members) {
    members.set(weight, placeEncoded(memory, checkpoint.read(weight), product.dtype, weight));
  }
  return { representation: 'dense', inner: undefined, members };
}
