import { decodeFloats } from '../../src/formats/dtype.js';
import type { Matrix } from '../../src/linalg/matrix.js';
import type { RuntimeMemory } from '../../src/runtime/runtime-memory.js';
import type { StoredMatrix } from '../../src/runtime/stored-matrix.js';

/** What the kernels compute with, entry by entry: a stored matrix as an ordinary one. */
export function expandNaively(memory: RuntimeMemory, matrix: StoredMatrix): Matrix {
  const { rows, columns, type } = matrix;
  const data = new Float32Array(rows * columns);
  const size = type === 'F32' ? 4 : 2;
  const value = (index: number): number =>
    decodeFloats(type, memory.bytes(matrix.values + size * index, size).slice())[0] as number;
  for (let row = 0; row < rows; row++) {
    if (matrix.kind === 'dense') {
      for (let column = 0; column < columns; column++) data[row * columns + column] = value(row * columns + column);
    } else if (matrix.kind === 'bitmask') {
      const stride = Math.ceil(columns / 8);
      let next = memory.words(matrix.starts, rows)[row] as number;
      const mask = memory.bytes(matrix.mask, rows * stride);
      for (let column = 0; column < columns; column++) {
        const bit = ((mask[row * stride + (column >> 3)] as number) >> (column & 7)) & 1;
        if (bit) data[row * columns + column] = value(next++);
      }
    } else {
      const [first, end] = memory.words(matrix.starts + 4 * row, 2) as unknown as [number, number];
      const indices = new Uint16Array(memory.memory.buffer, matrix.indices, 4 * end);
      for (let at = 4 * first; at < 4 * end; at++) {
        const index = row * columns + (indices[at] as number);
        data[index] = (data[index] as number) + value(at);
      }
    }
  }
  return { rows, columns, data };
}

/** y = M x + bias, in float64. */
export function multiplyNaively({ rows, columns, data }: Matrix, x: Float32Array, bias?: Float32Array): number[] {
  return Array.from({ length: rows }, (_, row) => {
    let sum = bias?.[row] ?? 0;
    for (let column = 0; column < columns; column++)
      sum += (data[row * columns + column] as number) * (x[column] as number);
    return sum;
  });
}
