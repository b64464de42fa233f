import type { RuntimeKernels } from './kernels.js';
import { type StoredMatrix, typeNumber } from './stored-matrix.js';

/**
 * y = M x + bias, or y += M x + bias, for rows first .. end - 1.
 * @param y address of M.rows floats.
 * @param x address of M.columns floats, followed by zeros up to a multiple of eight.
 * @param bias address of M.rows floats, 0 for none.
 */
export function multiplyVector(
  kernels: RuntimeKernels,
  matrix: StoredMatrix,
  y: number,
  x: number,
  first: number,
  end: number,
  bias: number,
  accumulate: boolean,
): void {
  const { columns, values } = matrix;
  const type = typeNumber(matrix.type);
  const add = accumulate ? 1 : 0;
  switch (matrix.kind) {
    case 'dense':
      return kernels.denseProduct(type, y, x, values, columns, first, end, bias, add);
    case 'bitmask': {
      const { mask, starts } = matrix;
      const stride = Math.ceil(columns / 8);
      return kernels.bitmaskProduct(type, y, x, values, mask, starts, stride, first, end, bias, add);
    }
    case 'indexed': {
      const { indices, starts } = matrix;
      return kernels.indexedProduct(type, y, x, values, indices, starts, first, end, bias, add);
    }
  }
}
