// Rows of a stored matrix as fp32, for products with many inputs at a time.
import { BF16, evenLanes, F16, F32, halfBits, halfPower, laneOrders, oddLanes, pick, upperBits, widenHigh, widenLow, widenOne } from './lanes';

/** Rows first .. end - 1 of a sparse matrix; rows of `target` are stride * 8 floats apart. */
export function expandBitmask(type: u32, target: usize, values: usize, mask: usize, starts: usize, stride: u32, first: u32, end: u32): void {
  if (type == BF16) expandHalf(BF16, target, values, mask, starts, stride, first, end);
  else if (type == F16) expandHalf(F16, target, values, mask, starts, stride, first, end);
  else expandFloat(target, values, mask, starts, stride, first, end);
}

// @ts-ignore: decorator
@inline
function exact(v: v128, type: u32): v128 {
  return type == F16 ? f32x4.mul(v, f32x4.splat(halfPower)) : v;
}

// @ts-ignore: decorator
@inline
function expandHalf(type: u32, target: usize, values: usize, mask: usize, starts: usize, stride: u32, first: u32, end: u32): void {
  const bits = type == F16 ? halfBits() : upperBits();
  let p = values + (<usize>load<u32>(starts + (<usize>first << 2)) << 1);
  let m = mask + <usize>first * stride;
  const last = mask + <usize>end * stride;
  for (; m < last; m++) {
    const i = <usize>load<u8>(m);
    const e = pick(v128.load(p), v128.load(i << 4, laneOrders));
    v128.store(target, exact(evenLanes(e, bits, type), type));
    v128.store(target, exact(oddLanes(e, bits, type), type), 16);
    p += popcnt(i) << 1;
    target += 32;
  }
}

function expandFloat(target: usize, values: usize, mask: usize, starts: usize, stride: u32, first: u32, end: u32): void {
  let p = values + (<usize>load<u32>(starts + (<usize>first << 2)) << 2);
  let m = mask + <usize>first * stride;
  const last = mask + <usize>end * stride;
  for (; m < last; m++) {
    const i = <usize>load<u8>(m);
    v128.store(target, pick(v128.load(p), v128.load((i & 15) << 4, laneOrders + 4096)));
    p += popcnt(i & 15) << 2;
    v128.store(target, pick(v128.load(p), v128.load((i >> 4) << 4, laneOrders + 4096)), 16);
    p += popcnt(i >> 4) << 2;
    target += 32;
  }
}

/** Rows first .. end - 1 of an indexed matrix (see ./indexed.ts); rows of `target` are `width` floats apart. */
export function expandIndexed(type: u32, target: usize, values: usize, indices: usize, starts: usize, width: u32, first: u32, end: u32): void {
  memory.fill(target, 0, <usize>(end - first) * <usize>width << 2);
  for (let row = first; row < end; row++) {
    const last = <usize>load<u32>(starts + (<usize>row << 2), 4) << 3;
    for (let i = <usize>load<u32>(starts + (<usize>row << 2)) << 3; i < last; i += 2) {
      // What fills a quad up is 0 at column 0, which may have a value of its own.
      if (!load<u16>(values + i)) continue;
      const value = widenOne(values + i, type);
      store<f32>(target + (<usize>load<u16>(indices + i) << 2), type == F16 ? value * halfPower : value);
    }
    target += <usize>width << 2;
  }
}

/** `count` values of a dense matrix. */
export function expandDense(type: u32, target: usize, values: usize, count: u32): void {
  if (type == F32) memory.copy(target, values, <usize>count << 2);
  else if (type == F16) expandDenseHalf(F16, target, values, count);
  else expandDenseHalf(BF16, target, values, count);
}

// @ts-ignore: decorator
@inline
function expandDenseHalf(type: u32, target: usize, values: usize, count: u32): void {
  let i: u32 = 0;
  for (; i + 8 <= count; i += 8) {
    const e = v128.load(values + (<usize>i << 1));
    v128.store(target + (<usize>i << 2), exact(widenLow(e, type), type));
    v128.store(target + (<usize>i << 2), exact(widenHigh(e, type), type), 16);
  }
  for (; i < count; i++) {
    const value = widenOne(values + (<usize>i << 1), type);
    store<f32>(target + (<usize>i << 2), type == F16 ? value * halfPower : value);
  }
}
