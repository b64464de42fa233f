// Elementwise passes of transformer blocks over fp32 arrays in linear memory. Pointers are byte addresses.
// The twins in src/models/llama/kernels.ts are the specification.

import { decay, maximum, sumOf } from './exponential';

/** x = exp(x - top), returns the sum; or the sum alone. */
// @ts-ignore: decorator
@inline
function exponentials(x: usize, n: u32, top: f32, keep: bool): f64 {
  const t = f32x4.splat(top);
  let a = f32x4.splat(0);
  let b = a;
  let i: u32 = 0;
  for (; i + 8 <= n; i += 8) {
    const at = x + (<usize>i << 2);
    const e = decay(f32x4.sub(t, v128.load(at)));
    const f = decay(f32x4.sub(t, v128.load(at, 16)));
    if (keep) {
      v128.store(at, e);
      v128.store(at, f, 16);
    }
    a = f32x4.add(a, e);
    b = f32x4.add(b, f);
  }
  let sum = sumOf(f32x4.add(a, b));
  for (; i < n; i++) {
    const at = x + (<usize>i << 2);
    const e = f32x4.extract_lane(decay(f32x4.splat(top - load<f32>(at))), 0);
    if (keep) store<f32>(at, e);
    sum += e;
  }
  return sum;
}

export function causalExponentials(scores: usize, rows: u32, columns: u32, first: u32, window: u32, inverseSums: usize): void {
  for (let row: u32 = 0; row < rows; row++) {
    const base = scores + (<usize>row * <usize>columns << 2);
    const end = first + row;
    const begin = end > window ? end - window : 0;
    const from = base + (<usize>begin << 2);
    const sum = exponentials(from, end - begin, maximum(from, end - begin), true);
    memory.fill(base, 0, <usize>begin << 2);
    memory.fill(base + (<usize>end << 2), 0, <usize>(columns - end) << 2);
    store<f32>(inverseSums + (<usize>row << 2), <f32>(1 / sum));
  }
}

export function siluMultiply(gate: usize, up: usize, n: u32): void {
  let i: u32 = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    v128.store(gate + at, f32x4.mul(silu(v128.load(gate + at)), v128.load(up + at)));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    const value = f32x4.extract_lane(silu(f32x4.splat(load<f32>(gate + at))), 0);
    store<f32>(gate + at, value * load<f32>(up + at));
  }
}

/** x / (1 + exp(-x)), by exp(-|x|) alone. */
// @ts-ignore: decorator
@inline
function silu(x: v128): v128 {
  const m = f32x4.abs(x);
  const e = decay(m);
  const numerator = f32x4.add(f32x4.add(x, m), f32x4.mul(f32x4.sub(x, m), e));
  return f32x4.div(f32x4.mul(f32x4.splat(0.5), numerator), f32x4.add(f32x4.splat(1), e));
}

export function accumulateExponentials(logits: usize, rows: u32, columns: u32, maxima: usize, sums: usize): void {
  for (let row: u32 = 0; row < rows; row++) {
    const x = logits + (<usize>row * <usize>columns << 2);
    const at = <usize>row << 3;
    const before = load<f64>(maxima + at);
    let top = <f64>maximum(x, columns);
    if (!(top > before)) top = before;
    let sum = load<f64>(sums + at);
    if (before !== top) sum *= <f64>f32x4.extract_lane(decay(f32x4.splat(<f32>(top - before))), 0);
    store<f64>(maxima + at, top);
    store<f64>(sums + at, sum + exponentials(x, columns, <f32>top, false));
  }
}

export function rmsNorm(target: usize, x: usize, weight: usize, rows: u32, width: u32, epsilon: f64): void {
  for (let row: u32 = 0; row < rows; row++) {
    const from = x + (<usize>row * <usize>width << 2);
    const to = target + (<usize>row * <usize>width << 2);
    let a = f64x2.splat(0);
    let b = a;
    let j: u32 = 0;
    for (; j + 4 <= width; j += 4) {
      const v = v128.load(from + (<usize>j << 2));
      const low = f64x2.promote_low_f32x4(v);
      const high = f64x2.promote_low_f32x4(i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
      a = f64x2.add(a, f64x2.mul(low, low));
      b = f64x2.add(b, f64x2.mul(high, high));
    }
    a = f64x2.add(a, b);
    let sum = f64x2.extract_lane(a, 0) + f64x2.extract_lane(a, 1);
    for (; j < width; j++) {
      const v = <f64>load<f32>(from + (<usize>j << 2));
      sum += v * v;
    }
    const scale = <f32>(1 / Math.sqrt(sum / <f64>width + epsilon));
    const s = f32x4.splat(scale);
    for (j = 0; j + 4 <= width; j += 4) {
      const at = <usize>j << 2;
      v128.store(to + at, f32x4.mul(f32x4.mul(v128.load(from + at), s), v128.load(weight + at)));
    }
    for (; j < width; j++) {
      const at = <usize>j << 2;
      store<f32>(to + at, load<f32>(from + at) * scale * load<f32>(weight + at));
    }
  }
}
