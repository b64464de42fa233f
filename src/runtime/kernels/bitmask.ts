// y = F x for a sparse matrix F as the container stores it: a bitmask, and the values of the support row by row.
// A mask byte finds in a table (256 x 16 bytes, ../lane-orders.ts) where each of eight 16-bit lanes takes its value from.
// Columns 0 .. 3 are in the even lanes, 4 .. 7 in the odd ones.
import { BF16, evenLanes, F16, F32, finish, halfBits, laneOrders, loadInput, multiplyAdd, oddLanes, pick, sumOf, upperBits } from './lanes';

/**
 * Rows first .. end - 1.
 * @param starts row -> index of its first value
 * @param x columns floats, zeros up to a multiple of eight
 */
export function bitmaskProduct(type: u32, y: usize, x: usize, values: usize, mask: usize, starts: usize, stride: u32, first: u32, end: u32, bias: usize, accumulate: bool): void {
  if (type == BF16) halfRows(BF16, y, x, values, mask, starts, stride, first, end, bias, accumulate);
  else if (type == F16) halfRows(F16, y, x, values, mask, starts, stride, first, end, bias, accumulate);
  else floatRows(y, x, values, mask, starts, stride, first, end, bias, accumulate);
}

/** Eight 16-bit lanes from the values at p; `index` is the mask byte. */
// @ts-ignore: decorator
@inline
function placed(p: usize, index: usize): v128 {
  return pick(v128.load(p), v128.load(index << 4, laneOrders));
}

// Two rows share the loads of x. Four, or more than one mask byte a round, need more registers than there are.
// @ts-ignore: decorator
@inline
function halfRows(type: u32, y: usize, x: usize, values: usize, mask: usize, starts: usize, stride: u32, first: u32, end: u32, bias: usize, accumulate: bool): void {
  const bits = type == F16 ? halfBits() : upperBits();
  for (let row = first; row < end; row += 2) {
    // The last of an odd number of rows is computed twice.
    const other = row + 1 < end ? row + 1 : row;
    let p = values + (<usize>load<u32>(starts + (<usize>row << 2)) << 1);
    let q = values + (<usize>load<u32>(starts + (<usize>other << 2)) << 1);
    let m = mask + <usize>row * stride;
    let n = mask + <usize>other * stride;
    const last = m + stride;
    let at = x;
    let a = f32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    while (m < last) {
      const i = <usize>load<u8>(m);
      const j = <usize>load<u8>(n);
      const low = loadInput(at, type);
      const high = loadInput(at + 16, type);
      const e = placed(p, i);
      const f = placed(q, j);
      a = multiplyAdd(evenLanes(e, bits, type), low, a);
      b = multiplyAdd(oddLanes(e, bits, type), high, b);
      c = multiplyAdd(evenLanes(f, bits, type), low, c);
      d = multiplyAdd(oddLanes(f, bits, type), high, d);
      p += popcnt(i) << 1;
      q += popcnt(j) << 1;
      m++;
      n++;
      at += 32;
    }
    finish(y, bias, row, sumOf(f32x4.add(a, b)), type, accumulate);
    if (other != row) finish(y, bias, other, sumOf(f32x4.add(c, d)), type, accumulate);
  }
}

function floatRows(y: usize, x: usize, values: usize, mask: usize, starts: usize, stride: u32, first: u32, end: u32, bias: usize, accumulate: bool): void {
  for (let row = first; row < end; row++) {
    let p = values + (<usize>load<u32>(starts + (<usize>row << 2)) << 2);
    const m = mask + <usize>row * stride;
    let a = f32x4.splat(0);
    let b = a;
    for (let k: u32 = 0; k < stride; k++) {
      const i = <usize>load<u8>(m + k);
      const at = x + (<usize>k << 5);
      a = multiplyAdd(pick(v128.load(p), v128.load((i & 15) << 4, laneOrders + 4096)), v128.load(at), a);
      p += popcnt(i & 15) << 2;
      b = multiplyAdd(pick(v128.load(p), v128.load((i >> 4) << 4, laneOrders + 4096)), v128.load(at, 16), b);
      p += popcnt(i >> 4) << 2;
    }
    finish(y, bias, row, sumOf(f32x4.add(a, b)), F32, accumulate);
  }
}
