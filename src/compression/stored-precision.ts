import { balanceScales } from '../formats/container/balance-scales.js';
import { bytesPerFloat, decodeFloats, encodeFloats, type WritableFloatType } from '../formats/dtype.js';
import type { Matrix } from '../linalg/matrix.js';

/**
 * The factors as they will be stored: scales of a product balanced (balance-scales.ts), values rounded to the type of
 * the file. Everything after compression computes with these.
 */
export function toStoredPrecision(factors: readonly Matrix[], dtype: WritableFloatType): Matrix[] {
  const [a, b] = factors as [Matrix, Matrix | undefined];
  const balanced = b ? Object.values(balanceScales(a, b)) : [a];
  return balanced.map((factor) => {
    const bytes = new Uint8Array(factor.data.length * bytesPerFloat(dtype));
    encodeFloats(dtype, factor.data, bytes);
    return { ...factor, data: decodeFloats(dtype, bytes) };
  });
}
