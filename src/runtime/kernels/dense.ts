// y = W x for a dense matrix W in its stored type.
import { BF16, F16, F32, finish, loadInput, loadInputOne, multiplyAdd, sumOf, widenHigh, widenLow, widenOne } from './lanes';

/** Rows first .. end - 1. */
export function denseProduct(type: u32, y: usize, x: usize, values: usize, columns: u32, first: u32, end: u32, bias: usize, accumulate: bool): void {
  if (type == BF16) halfRows(BF16, y, x, values, columns, first, end, bias, accumulate);
  else if (type == F16) halfRows(F16, y, x, values, columns, first, end, bias, accumulate);
  else floatRows(y, x, values, columns, first, end, bias, accumulate);
}

// @ts-ignore: decorator
@inline
function halfRows(type: u32, y: usize, x: usize, values: usize, columns: u32, first: u32, end: u32, bias: usize, accumulate: bool): void {
  const bytes = <usize>columns << 1;
  const whole = (<usize>columns >> 3) << 4;
  let row = first;
  for (; row + 2 <= end; row += 2) {
    const p = values + <usize>row * bytes;
    const q = p + bytes;
    let a = f32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    for (let i: usize = 0; i < whole; i += 16) {
      const at = x + (i << 1);
      const low = loadInput(at, type);
      const high = loadInput(at + 16, type);
      const e = v128.load(p + i);
      const f = v128.load(q + i);
      a = multiplyAdd(widenLow(e, type), low, a);
      b = multiplyAdd(widenHigh(e, type), high, b);
      c = multiplyAdd(widenLow(f, type), low, c);
      d = multiplyAdd(widenHigh(f, type), high, d);
    }
    let s = sumOf(f32x4.add(a, b));
    let t = sumOf(f32x4.add(c, d));
    for (let i = whole; i < bytes; i += 2) {
      const input = loadInputOne(x + (i << 1), type);
      s += widenOne(p + i, type) * input;
      t += widenOne(q + i, type) * input;
    }
    finish(y, bias, row, s, type, accumulate);
    finish(y, bias, row + 1, t, type, accumulate);
  }
  if (row < end) {
    const p = values + <usize>row * bytes;
    let a = f32x4.splat(0);
    let b = a;
    for (let i: usize = 0; i < whole; i += 16) {
      const at = x + (i << 1);
      const e = v128.load(p + i);
      a = multiplyAdd(widenLow(e, type), loadInput(at, type), a);
      b = multiplyAdd(widenHigh(e, type), loadInput(at + 16, type), b);
    }
    let s = sumOf(f32x4.add(a, b));
    for (let i = whole; i < bytes; i += 2) s += widenOne(p + i, type) * loadInputOne(x + (i << 1), type);
    finish(y, bias, row, s, type, accumulate);
  }
}

function floatRows(y: usize, x: usize, values: usize, columns: u32, first: u32, end: u32, bias: usize, accumulate: bool): void {
  const bytes = <usize>columns << 2;
  const whole = (<usize>columns >> 3) << 5;
  for (let row = first; row < end; row++) {
    const p = values + <usize>row * bytes;
    let a = f32x4.splat(0);
    let b = a;
    for (let i: usize = 0; i < whole; i += 32) {
      a = multiplyAdd(v128.load(p + i), v128.load(x + i), a);
      b = multiplyAdd(v128.load(p + i, 16), v128.load(x + i, 16), b);
    }
    let s = sumOf(f32x4.add(a, b));
    for (let i = whole; i < bytes; i += 4) s += load<f32>(p + i) * load<f32>(x + i);
    finish(y, bias, row, s, F32, accumulate);
  }
}
