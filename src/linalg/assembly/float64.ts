// Passes over fp64 vectors in linear memory. Pointers are byte addresses, lengths count numbers.
// The twin in ../kernels.ts is the specification.

// @ts-ignore: decorator
@inline
function term(coefficient: v128, row: usize): v128 {
  return f64x2.mul(coefficient, v128.load(row));
}

/** target[j] -= sum over k < count of coefficients[k] * rows[k * stride + j], for j < length. */
export function subtractRows(target: usize, length: u32, rows: usize, stride: u32, count: u32, coefficients: usize): void {
  const step = (<usize>stride) << 3;
  const end = length & ~1;
  let k: u32 = 0;
  // Eight rows at a time: the target is loaded and stored an eighth as often.
  for (; k + 8 <= count; k += 8) {
    const c = coefficients + ((<usize>k) << 3);
    const c0 = v128.load64_splat(c);
    const c1 = v128.load64_splat(c, 8);
    const c2 = v128.load64_splat(c, 16);
    const c3 = v128.load64_splat(c, 24);
    const c4 = v128.load64_splat(c, 32);
    const c5 = v128.load64_splat(c, 40);
    const c6 = v128.load64_splat(c, 48);
    const c7 = v128.load64_splat(c, 56);
    const r0 = rows + (<usize>k) * step;
    const r4 = r0 + 4 * step;
    for (let j: u32 = 0; j < end; j += 2) {
      const at = (<usize>j) << 3;
      const a = r0 + at;
      const b = r4 + at;
      const first = f64x2.add(f64x2.add(term(c0, a), term(c1, a + step)), f64x2.add(term(c2, a + 2 * step), term(c3, a + 3 * step)));
      const second = f64x2.add(f64x2.add(term(c4, b), term(c5, b + step)), f64x2.add(term(c6, b + 2 * step), term(c7, b + 3 * step)));
      v128.store(target + at, f64x2.sub(v128.load(target + at), f64x2.add(first, second)));
    }
    if (end < length) {
      const at = (<usize>end) << 3;
      let sum: f64 = 0;
      for (let i: u32 = 0; i < 8; i++) sum += load<f64>(c + ((<usize>i) << 3)) * load<f64>(r0 + (<usize>i) * step + at);
      store<f64>(target + at, load<f64>(target + at) - sum);
    }
  }
  for (; k < count; k++) {
    const value = load<f64>(coefficients + ((<usize>k) << 3));
    const c = f64x2.splat(value);
    const row = rows + (<usize>k) * step;
    for (let j: u32 = 0; j < end; j += 2) {
      const at = (<usize>j) << 3;
      v128.store(target + at, f64x2.sub(v128.load(target + at), term(c, row + at)));
    }
    if (end < length) {
      const at = (<usize>end) << 3;
      store<f64>(target + at, load<f64>(target + at) - value * load<f64>(row + at));
    }
  }
}
