// Elementwise passes over fp32 vectors in linear memory. Pointers are byte addresses, n counts floats.
// The twins in ../elementwise.ts are the specification.

/** target = alpha * x + beta * y */
export function linearCombination(target: usize, alpha: f32, x: usize, beta: f32, y: usize, n: u32): void {
  const a = f32x4.splat(alpha);
  const b = f32x4.splat(beta);
  const end = n & ~3;
  let i: u32 = 0;
  for (; i < end; i += 4) {
    const at = (<usize>i) << 2;
    v128.store(target + at, f32x4.add(f32x4.mul(a, v128.load(x + at)), f32x4.mul(b, v128.load(y + at))));
  }
  for (; i < n; i++) {
    const at = (<usize>i) << 2;
    store<f32>(target + at, alpha * load<f32>(x + at) + beta * load<f32>(y + at));
  }
}

/** target = x * y */
export function multiply(target: usize, x: usize, y: usize, n: u32): void {
  const end = n & ~3;
  let i: u32 = 0;
  for (; i < end; i += 4) {
    const at = (<usize>i) << 2;
    v128.store(target + at, f32x4.mul(v128.load(x + at), v128.load(y + at)));
  }
  for (; i < n; i++) {
    const at = (<usize>i) << 2;
    store<f32>(target + at, load<f32>(x + at) * load<f32>(y + at));
  }
}

/** target = support != 0 ? x : 0 */
export function restrict(target: usize, x: usize, support: usize, n: u32): void {
  const zero = f32x4.splat(0);
  const end = n & ~3;
  let i: u32 = 0;
  for (; i < end; i += 4) {
    const at = (<usize>i) << 2;
    v128.store(target + at, v128.and(v128.load(x + at), f32x4.ne(v128.load(support + at), zero)));
  }
  for (; i < n; i++) {
    const at = (<usize>i) << 2;
    store<f32>(target + at, load<f32>(support + at) != 0 ? load<f32>(x + at) : 0);
  }
}

/** sum of x * y, accumulated in float64 */
export function dot(x: usize, y: usize, n: u32): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  const end = n & ~3;
  let i: u32 = 0;
  for (; i < end; i += 4) {
    const at = (<usize>i) << 2;
    const a = v128.load(x + at);
    const b = v128.load(y + at);
    low = f64x2.add(low, f64x2.mul(f64x2.promote_low_f32x4(a), f64x2.promote_low_f32x4(b)));
    const a2 = i8x16.shuffle(a, a, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    const b2 = i8x16.shuffle(b, b, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    high = f64x2.add(high, f64x2.mul(f64x2.promote_low_f32x4(a2), f64x2.promote_low_f32x4(b2)));
  }
  const total = f64x2.add(low, high);
  let sum = f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1);
  for (; i < n; i++) {
    const at = (<usize>i) << 2;
    sum += <f64>load<f32>(x + at) * <f64>load<f32>(y + at);
  }
  return sum;
}

/** target[i, j] = x[i, j] * scale[i] */
export function scaleRows(target: usize, x: usize, scale: usize, rows: u32, columns: u32): void {
  for (let i: u32 = 0; i < rows; i++) {
    const row = (<usize>i * <usize>columns) << 2;
    const s = load<f32>(scale + ((<usize>i) << 2));
    const factor = f32x4.splat(s);
    const end = columns & ~3;
    let j: u32 = 0;
    for (; j < end; j += 4) {
      const at = row + ((<usize>j) << 2);
      v128.store(target + at, f32x4.mul(v128.load(x + at), factor));
    }
    for (; j < columns; j++) {
      const at = row + ((<usize>j) << 2);
      store<f32>(target + at, load<f32>(x + at) * s);
    }
  }
}

/** target[i, j] = x[i, j] * scale[j] */
export function scaleColumns(target: usize, x: usize, scale: usize, rows: u32, columns: u32): void {
  for (let i: u32 = 0; i < rows; i++) {
    const row = (<usize>i * <usize>columns) << 2;
    multiply(target + row, x + row, scale, columns);
  }
}
