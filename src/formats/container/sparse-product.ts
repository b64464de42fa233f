import type { Matrix } from '../../linalg/matrix.js';
import { decodeFloats } from '../dtype.js';
import { maskStride } from './bitmask.js';
import { checkFactor, type PackedFactor } from './packed-factor.js';

/** A sparse matrix by rows: entries of row i are at rowStart[i] to rowStart[i + 1]. */
interface SparseRows {
  readonly rowStart: Float64Array;
  readonly columns: Uint32Array;
  readonly values: Float32Array;
}

function sparseRows(factor: PackedFactor, name: string): SparseRows {
  checkFactor(factor, name);
  const { rows, bitmask } = factor;
  const values = decodeFloats(factor.dtype, factor.values);
  const columns = new Uint32Array(values.length);
  const rowStart = new Float64Array(rows + 1);
  const stride = maskStride(factor.columns);
  let next = 0;
  for (let row = 0; row < rows; row++) {
    for (let byte = 0; byte < stride; byte++) {
      for (let bits = bitmask[row * stride + byte] as number; bits !== 0; bits &= bits - 1) {
        columns[next++] = byte * 8 + 31 - Math.clz32(bits & -bits);
      }
    }
    rowStart[row + 1] = next;
  }
  return { rowStart, columns, values };
}

/**
 * A·B as a dense matrix, row by row, summed in float64: the plain way, for exports and tests.
 * @param target receives rows of A x columns of B.
 * @throws DoubleSparseError `file-malformed` when bitmask and values of a factor disagree.
 */
export function multiplyPacked(a: PackedFactor, b: PackedFactor, target: Matrix, name = 'product'): Matrix {
  const left = sparseRows(a, `${name}.A`);
  const right = sparseRows(b, `${name}.B`);
  const sum = new Float64Array(b.columns);
  for (let row = 0; row < a.rows; row++) {
    sum.fill(0);
    for (let i = left.rowStart[row] as number; i < (left.rowStart[row + 1] as number); i++) {
      const value = left.values[i] as number;
      const inner = left.columns[i] as number;
      const end = right.rowStart[inner + 1] as number;
      for (let j = right.rowStart[inner] as number; j < end; j++) {
        sum[right.columns[j] as number]! += value * (right.values[j] as number);
      }
    }
    target.data.set(sum, row * b.columns);
  }
  return target;
}
