import { bytesPerFloat } from '../dtype.js';
import type { StoredProduct } from './description.js';

/** What one compressed weight takes. */
export interface Compression {
  readonly product: string;
  /** Of the dense weight. */
  readonly shape: readonly [number, number];
  /** Of the values. */
  readonly dtype: string;
  /** Nonzeros of its rows of A, and of B for a product (shared B counted whole). */
  readonly nonzeros: readonly number[];
  /**
   * Values, and bitmasks or gaps. What members share (B, the support of A) is split over them by rows, so that the sum
   * over weights is what is stored.
   */
  readonly bytes: number;
  /** The dense weight in the same type. */
  readonly denseBytes: number;
}

/** By name of the weight. */
export function compressionOf(product: StoredProduct): [string, Compression][] {
  const { name, factors, members, dtype, counts, supports } = product;
  const size = bytesPerFloat(dtype);
  const [a, b] = factors;
  const [allRows] = a!.shape;
  const columns = (b ?? a!).shape[1];
  const shared = supports.reduce((sum, { bytes }) => sum + bytes, b ? (counts[1] as number) * size : 0);
  let rowsBefore = 0;
  return members.map(({ weight, rows, values }) => {
    // Differences of rounded shares add up to the whole.
    const share = Math.floor((shared * (rowsBefore + rows)) / allRows) - Math.floor((shared * rowsBefore) / allRows);
    rowsBefore += rows;
    return [
      weight,
      {
        product: name,
        shape: [rows, columns],
        dtype,
        nonzeros: b ? [values, counts[1] as number] : [values],
        bytes: values * size + share,
        denseBytes: rows * columns * size,
      },
    ];
  });
}
