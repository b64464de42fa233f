import { maskStride } from '../formats/container/bitmask.js';
import { bytesPerFloat } from '../formats/dtype.js';
import type { Block, Engine } from '../linalg/engine.js';
import type { RuntimeKernels } from './kernels.js';
import { padded, tileRows } from './layout.js';
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
      kernels.denseProduct(type, y, x, values, columns, first, end, bias, add);
      break;
    case 'bitmask': {
      const { mask, starts } = matrix;
      kernels.bitmaskProduct(type, y, x, values, mask, starts, maskStride(columns), first, end, bias, add);
      break;
    }
    case 'indexed': {
      const { indices, starts } = matrix;
      kernels.indexedProduct(type, y, x, values, indices, starts, first, end, bias, add);
      break;
    }
  }
}

export interface MatrixProductContext {
  readonly kernels: RuntimeKernels;
  readonly engine: Engine;
  /** All of the runtime's memory. */
  readonly floats: Float32Array;
  /** Address of tileRows rows of M's padded columns. */
  readonly tile: number;
}

/**
 * Y = X Mᵀ + bias, or Y += X Mᵀ + bias, for columns first .. end - 1 of Y: rows of M are expanded tile by tile.
 * @param y positions x M.rows, anywhere
 * @param x positions x M.columns
 */
export function multiplyMatrix(
  { kernels, engine, floats, tile }: MatrixProductContext,
  matrix: StoredMatrix,
  y: Block,
  x: Block,
  first: number,
  end: number,
  bias: number,
  accumulate: boolean,
): void {
  if (bias !== 0) addBias(floats, y, bias, first, end, accumulate);
  const product = { transposeA: false, transposeB: true, alpha: 1, beta: accumulate || bias !== 0 ? 1 : 0 };
  for (let row = first; row < end; row += tileRows) {
    const rows = Math.min(tileRows, end - row);
    const target = { ...y, offset: y.offset + row, columns: rows };
    engine.gemm(x, expandRows(kernels, matrix, floats, tile, row, rows), target, product);
  }
}

/** Rows of a matrix as fp32: in the tile, or where they are. */
function expandRows(
  kernels: RuntimeKernels,
  matrix: StoredMatrix,
  floats: Float32Array,
  tile: number,
  first: number,
  rows: number,
): Block {
  const { columns, values } = matrix;
  const type = typeNumber(matrix.type);
  const width = padded(columns);
  const expanded = { data: floats, offset: tile / 4, stride: width, rows, columns };
  switch (matrix.kind) {
    case 'dense':
      if (matrix.type === 'F32') return { ...expanded, offset: values / 4 + first * columns, stride: columns };
      kernels.expandDense(type, tile, values + bytesPerFloat(matrix.type) * first * columns, rows * columns);
      return { ...expanded, stride: columns };
    case 'bitmask':
      kernels.expandBitmask(type, tile, values, matrix.mask, matrix.starts, maskStride(columns), first, first + rows);
      return expanded;
    case 'indexed':
      kernels.expandIndexed(type, tile, values, matrix.indices, matrix.starts, width, first, first + rows);
      return expanded;
  }
}

function addBias(floats: Float32Array, y: Block, bias: number, first: number, end: number, accumulate: boolean): void {
  for (let position = 0; position < y.rows; position++) {
    const start = y.offset + position * y.stride;
    for (let row = first; row < end; row++) {
      const old = accumulate ? (y.data[start + row] as number) : 0;
      y.data[start + row] = old + (floats[bias / 4 + row] as number);
    }
  }
}
