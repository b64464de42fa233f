// y = F x for a sparse matrix F whose 16-bit values come with 16-bit column numbers. Each row is filled up to quads with
// zero values: one loop a row, whose end is the only branch that is hard to predict.
import { BF16, F16, finish, multiplyAdd, sumOf, widenLow } from './lanes';

/**
 * Rows first .. end - 1.
 * @param starts rows + 1 indices of first quads
 */
export function indexedProduct(type: u32, y: usize, x: usize, values: usize, indices: usize, starts: usize, first: u32, end: u32, bias: usize, accumulate: bool): void {
  if (type == BF16) rowsOf(BF16, y, x, values, indices, starts, first, end, bias, accumulate);
  else rowsOf(F16, y, x, values, indices, starts, first, end, bias, accumulate);
}

/** x at a column number. */
// @ts-ignore: decorator
@inline
function inputOf(x: usize, index: usize): usize {
  return x + (<usize>load<u16>(index) << 2);
}

// @ts-ignore: decorator
@inline
function rowsOf(type: u32, y: usize, x: usize, values: usize, indices: usize, starts: usize, first: u32, end: u32, bias: usize, accumulate: bool): void {
  const power = f32x4.splat(type == F16 ? <f32>1.2089258196146292e24 : 1);
  let start = <usize>load<u32>(starts + (<usize>first << 2)) << 3;
  for (let row = first; row < end; row++) {
    const next = <usize>load<u32>(starts + (<usize>row << 2), 4) << 3;
    let a = f32x4.splat(0);
    for (let i = start; i < next; i += 8) {
      const q = indices + i;
      let v = v128.load_zero<u32>(inputOf(x, q));
      v = v128.load_lane<u32>(inputOf(x, q + 2), v, 1);
      v = v128.load_lane<u32>(inputOf(x, q + 4), v, 2);
      v = v128.load_lane<u32>(inputOf(x, q + 6), v, 3);
      if (type == F16) v = f32x4.mul(v, power);
      a = multiplyAdd(widenLow(v128.load_zero<u64>(values + i), type), v, a);
    }
    start = next;
    finish(y, bias, row, sumOf(a), type, accumulate);
  }
}
