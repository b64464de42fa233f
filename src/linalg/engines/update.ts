import type { Block } from '../engine.js';

/** C = beta * C. With beta 0 C is not read, it may hold NaN. */
export function scaleBlock(c: Block, beta: number): void {
  for (let i = 0; i < c.rows; i++) {
    const from = c.offset + i * c.stride;
    for (let p = from; p < from + c.columns; p++) c.data[p] = beta === 0 ? 0 : beta * (c.data[p] as number);
  }
}

/** C = alpha * P + beta * C, entry (i, j) of P being product[i * stride + j]. With beta 0 C is not read. */
export function updateBlock(c: Block, product: Float32Array, stride: number, alpha: number, beta: number): void {
  const { data, columns } = c;
  for (let i = 0; i < c.rows; i++) {
    const from = i * stride;
    const to = c.offset + i * c.stride;
    if (beta === 0 && alpha === 1) {
      data.set(product.subarray(from, from + columns), to);
    } else if (beta === 0) {
      for (let j = 0; j < columns; j++) data[to + j] = alpha * (product[from + j] as number);
    } else {
      for (let j = 0; j < columns; j++) {
        data[to + j] = alpha * (product[from + j] as number) + beta * (data[to + j] as number);
      }
    }
  }
}
