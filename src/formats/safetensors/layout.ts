import { DoubleSparseError } from '../../errors.js';
import { maximumHeaderBytes, valueBytes } from './header.js';

/** A tensor to be written. */
export interface PlannedTensor {
  readonly name: string;
  /** A safetensors dtype. */
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** Where a tensor goes: positions from the start of the file. */
interface Placement {
  readonly begin: number;
  readonly end: number;
}

export interface Layout {
  /** Length prefix and JSON, padded with spaces to a multiple of 8. */
  readonly header: Uint8Array;
  readonly placements: ReadonlyMap<string, Placement>;
  readonly fileBytes: number;
}

/** @throws DoubleSparseError `option-out-of-range` for an unknown dtype or a shape that is none. */
export function tensorBytes({ name, dtype, shape }: PlannedTensor): number {
  const bytes = Object.hasOwn(valueBytes, dtype) ? (valueBytes[dtype] as number) : Number.NaN;
  const size = shape.reduce((product, dimension) => product * dimension, bytes);
  if (Number.isSafeInteger(size) && shape.every((dimension) => Number.isInteger(dimension) && dimension >= 0))
    return size;
  throw new DoubleSparseError('option-out-of-range', `cannot write ${name}: ${dtype} of shape [${shape}]`, {
    data: { name, dtype, shape },
  });
}

/**
 * Lays tensors out without gaps, as the format demands: larger values first, so that every tensor is aligned for its
 * type (as the reference implementation does), else in the given order.
 * @throws DoubleSparseError `option-out-of-range` (see {@link tensorBytes}; a name twice; more than fits a header)
 */
export function layOut(tensors: readonly PlannedTensor[], metadata: Readonly<Record<string, string>> = {}): Layout {
  const sizeOf = ({ dtype }: PlannedTensor) => valueBytes[dtype] as number;
  const sized = tensors.map((tensor) => ({ tensor, bytes: tensorBytes(tensor) }));
  sized.sort((a, b) => sizeOf(b.tensor) - sizeOf(a.tensor));
  // A null prototype, because "__proto__" is a possible name.
  const entries: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length > 0) entries.__metadata__ = metadata;
  const offsets = new Map<string, Placement>();
  let position = 0;
  for (const { tensor, bytes } of sized) {
    if (offsets.has(tensor.name) || tensor.name === '__metadata__') {
      throw new DoubleSparseError('option-out-of-range', `two tensors named ${tensor.name}`, {
        data: { name: tensor.name },
      });
    }
    entries[tensor.name] = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [position, position + bytes] };
    offsets.set(tensor.name, { begin: position, end: position + bytes });
    position += bytes;
  }
  const json = Buffer.from(JSON.stringify(entries));
  const length = Math.ceil(json.byteLength / 8) * 8;
  if (length > maximumHeaderBytes) {
    throw new DoubleSparseError('option-out-of-range', `${tensors.length} tensors do not fit one safetensors header`, {
      data: { tensors: tensors.length, bytes: length },
    });
  }
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length), 0);
  json.copy(header, 8);
  const placements = new Map(
    [...offsets].map(([name, { begin, end }]) => [
      name,
      { begin: begin + header.byteLength, end: end + header.byteLength },
    ]),
  );
  return { header: new Uint8Array(header), placements, fileBytes: header.byteLength + position };
}
