// Derivatives of the elementwise passes of transformer blocks, over fp32 arrays in linear memory. Pointers are byte
// addresses. The twins in src/training/kernels.ts are the specification.

import { decay, maximum, sumOf } from './exponential';

export function rmsNormBackward(
  x: usize,
  weight: usize,
  gradient: usize,
  toX: usize,
  toWeight: usize,
  rows: u32,
  width: u32,
  epsilon: f64,
): void {
  const end = width & ~3;
  for (let row: u32 = 0; row < rows; row++) {
    const base = <usize>row * <usize>width << 2;
    let squares = f32x4.splat(0);
    let products = f32x4.splat(0);
    let j: u32 = 0;
    for (; j < end; j += 4) {
      const at = <usize>j << 2;
      const v = v128.load(x + base + at);
      const g = f32x4.mul(v128.load(gradient + base + at), v128.load(weight + at));
      squares = f32x4.add(squares, f32x4.mul(v, v));
      products = f32x4.add(products, f32x4.mul(v, g));
    }
    let square = sumOf(squares);
    let product = sumOf(products);
    for (; j < width; j++) {
      const at = <usize>j << 2;
      const v = <f64>load<f32>(x + base + at);
      square += v * v;
      product += v * <f64>load<f32>(gradient + base + at) * <f64>load<f32>(weight + at);
    }
    const inverse = 1 / Math.sqrt(square / <f64>width + epsilon);
    const along = inverse * inverse * inverse * product / <f64>width;
    const s = f32x4.splat(<f32>inverse);
    const a = f32x4.splat(<f32>along);
    for (j = 0; j < end; j += 4) {
      const at = <usize>j << 2;
      const v = v128.load(x + base + at);
      const g = v128.load(gradient + base + at);
      const scaled = f32x4.mul(g, s);
      const t = f32x4.sub(f32x4.mul(scaled, v128.load(weight + at)), f32x4.mul(v, a));
      v128.store(toX + base + at, f32x4.add(v128.load(toX + base + at), t));
      v128.store(toWeight + at, f32x4.add(v128.load(toWeight + at), f32x4.mul(scaled, v)));
    }
    for (; j < width; j++) {
      const at = <usize>j << 2;
      const v = load<f32>(x + base + at);
      const scaled = load<f32>(gradient + base + at) * <f32>inverse;
      const t = scaled * load<f32>(weight + at) - v * <f32>along;
      store<f32>(toX + base + at, load<f32>(toX + base + at) + t);
      store<f32>(toWeight + at, load<f32>(toWeight + at) + scaled * v);
    }
  }
}

/** 1 / (1 + exp(-x)), by exp(-|x|) alone. */
// @ts-ignore: decorator
@inline
function sigmoid(x: v128): v128 {
  const e = decay(f32x4.abs(x));
  const one = f32x4.splat(1);
  return f32x4.div(v128.bitselect(one, e, f32x4.ge(x, f32x4.splat(0))), f32x4.add(one, e));
}

export function siluMultiplyBackward(gate: usize, up: usize, gradient: usize, n: u32): void {
  const one = f32x4.splat(1);
  let i: u32 = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    const x = v128.load(gate + at);
    const u = v128.load(up + at);
    const d = v128.load(gradient + at);
    const s = sigmoid(x);
    const slope = f32x4.mul(s, f32x4.add(one, f32x4.mul(x, f32x4.sub(one, s))));
    v128.store(up + at, f32x4.mul(d, f32x4.mul(x, s)));
    v128.store(gate + at, f32x4.mul(f32x4.mul(d, u), slope));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    const x = load<f32>(gate + at);
    const u = load<f32>(up + at);
    const d = load<f32>(gradient + at);
    const s = f32x4.extract_lane(sigmoid(f32x4.splat(x)), 0);
    store<f32>(up + at, d * (x * s));
    store<f32>(gate + at, d * u * (s * (1 + x * (1 - s))));
  }
}

export function softmaxBackward(weights: usize, gradient: usize, rows: u32, columns: u32, inverseSums: usize): void {
  const end = columns & ~3;
  for (let row: u32 = 0; row < rows; row++) {
    const p = weights + (<usize>row * <usize>columns << 2);
    const g = gradient + (<usize>row * <usize>columns << 2);
    const scale = load<f32>(inverseSums + (<usize>row << 2));
    const s = f32x4.splat(scale);
    let products = f32x4.splat(0);
    let j: u32 = 0;
    for (; j < end; j += 4) {
      const at = <usize>j << 2;
      const w = f32x4.mul(v128.load(p + at), s);
      v128.store(p + at, w);
      products = f32x4.add(products, f32x4.mul(w, v128.load(g + at)));
    }
    let mean = sumOf(products);
    for (; j < columns; j++) {
      const at = <usize>j << 2;
      const w = load<f32>(p + at) * scale;
      store<f32>(p + at, w);
      mean += <f64>(w * load<f32>(g + at));
    }
    const m = f32x4.splat(<f32>mean);
    for (j = 0; j < end; j += 4) {
      const at = <usize>j << 2;
      v128.store(g + at, f32x4.mul(v128.load(p + at), f32x4.sub(v128.load(g + at), m)));
    }
    for (; j < columns; j++) {
      const at = <usize>j << 2;
      store<f32>(g + at, load<f32>(p + at) * (load<f32>(g + at) - <f32>mean));
    }
  }
}

export function softmax(x: usize, rows: u32, columns: u32, logSums: usize): void {
  const end = columns & ~3;
  for (let row: u32 = 0; row < rows; row++) {
    const base = x + (<usize>row * <usize>columns << 2);
    const top = maximum(base, columns);
    const t = f32x4.splat(top);
    let sum: f64 = 0;
    let partial = f32x4.splat(0);
    let j: u32 = 0;
    for (; j < end; j += 4) {
      const at = base + (<usize>j << 2);
      const e = decay(f32x4.sub(t, v128.load(at)));
      v128.store(at, e);
      partial = f32x4.add(partial, e);
    }
    sum = sumOf(partial);
    for (; j < columns; j++) {
      const at = base + (<usize>j << 2);
      const e = f32x4.extract_lane(decay(f32x4.splat(top - load<f32>(at))), 0);
      store<f32>(at, e);
      sum += <f64>e;
    }
    store<f64>(logSums + (<usize>row << 3), <f64>top + Math.log(sum));
    const scale = <f32>(1 / sum);
    const s = f32x4.splat(scale);
    for (j = 0; j < end; j += 4) {
      const at = base + (<usize>j << 2);
      v128.store(at, f32x4.mul(v128.load(at), s));
    }
    for (; j < columns; j++) {
      const at = base + (<usize>j << 2);
      store<f32>(at, load<f32>(at) * scale);
    }
  }
}
