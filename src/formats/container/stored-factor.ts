import { countNonzeros, type Matrix } from '../../linalg/matrix.js';
import { bytesPerFloat, type WritableFloatType } from '../dtype.js';
import type { PlannedTensor } from '../safetensors/layout.js';
import { maskStride } from './bitmask.js';
import { factorNames, factorTensors, type StoredProduct, type StoredSupport } from './description.js';
import { decodeGaps, encodeGaps, gapBytes } from './gaps.js';
import type { PackedFactor } from './packed-factor.js';

/** A factor as it will be stored. */
export interface PlannedFactor {
  readonly rows: number;
  readonly columns: number;
  /** As {@link countNonzeros} finds them. */
  readonly nonzeros: number;
  /** The shorter form of the support. */
  readonly support: StoredSupport;
}

/** What storing a matrix takes. */
export function plannedFactor(factor: Matrix): PlannedFactor {
  const { rows, columns, data } = factor;
  const bitmask = rows * maskStride(columns);
  const gaps = gapBytes(data);
  const support =
    gaps < bitmask ? { form: 'gaps' as const, bytes: gaps } : { form: 'bitmask' as const, bytes: bitmask };
  return { rows, columns, nonzeros: countNonzeros(factor), support };
}

/** The tensors of a factor, values first, as {@link packFactor} gives their content. */
export function planFactorTensors(
  product: string,
  index: number,
  { rows, columns, nonzeros, support }: PlannedFactor,
  dtype: WritableFloatType,
): PlannedTensor[] {
  const names = factorTensors(product, factorNames[index] as string);
  const shape = support.form === 'bitmask' ? [rows, maskStride(columns)] : [support.bytes];
  return [
    { name: names.values, dtype, shape: [nonzeros] },
    { name: names[support.form], dtype: 'U8', shape },
  ];
}

/** Writes what {@link planFactorTensors} planned. */
export function writeFactor(
  writer: { writeBytes(name: string, bytes: Uint8Array): void },
  product: string,
  index: number,
  { support }: PlannedFactor,
  { rows, columns, values, bitmask }: PackedFactor,
): void {
  const names = factorTensors(product, factorNames[index] as string);
  writer.writeBytes(names.values, values);
  writer.writeBytes(
    names[support.form],
    support.form === 'bitmask' ? bitmask : encodeGaps(bitmask, rows, columns, support.bytes),
  );
}

/** The factor `index` of a product (0: A, 1: B) as it lies in its file, unchecked; gaps become a bitmask. */
export function readFactor(product: StoredProduct, index: number): PackedFactor {
  const { name, factors, file, dtype } = product;
  const { name: factor, shape } = factors[index]!;
  const [rows, columns] = shape;
  const values = file.readBytes(factorTensors(name, factor).values);
  return { rows, columns, dtype, values, bitmask: readBitmask(product, index), vanished: 0 };
}

/**
 * Some rows of A.
 * @param firstValue, values: those of A before and in the rows.
 */
export function readRowsOfA(
  product: StoredProduct,
  { firstRow, rows, firstValue, values }: { firstRow: number; rows: number; firstValue: number; values: number },
): PackedFactor {
  const { name, factors, file, dtype, supports } = product;
  const [, columns] = factors[0]!.shape;
  const stride = maskStride(columns);
  const size = bytesPerFloat(dtype);
  const names = factorTensors(name, 'A');
  return {
    rows,
    columns,
    dtype,
    bitmask:
      supports[0]!.form === 'bitmask'
        ? file.readBytes(names.bitmask, firstRow * stride, rows * stride)
        : readBitmask(product, 0).subarray(firstRow * stride, (firstRow + rows) * stride),
    values: file.readBytes(names.values, firstValue * size, values * size),
    vanished: 0,
  };
}

function readBitmask(product: StoredProduct, index: number): Uint8Array {
  const [rows, columns] = product.factors[index]!.shape;
  const bitmask = new Uint8Array(rows * maskStride(columns));
  readBitmaskInto(product, index, bitmask);
  return bitmask;
}

/** The support of a factor as a bitmask, whichever way it is stored. @throws DoubleSparseError `file-malformed` */
export function readBitmaskInto(product: StoredProduct, index: number, target: Uint8Array): void {
  const { name, factors, file, supports, counts } = product;
  const { name: factor, shape } = factors[index]!;
  const { form } = supports[index]!;
  const tensor = factorTensors(name, factor)[form];
  if (form === 'bitmask') file.readInto(tensor, target);
  else target.set(decodeGaps(file.readBytes(tensor), shape[0], shape[1], counts[index]!, tensor));
}
