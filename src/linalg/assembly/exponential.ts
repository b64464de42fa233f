// Exponentials lane by lane, and reductions: shared by the kernels, not exported to JavaScript.

const log2e: f32 = 1.4426950408889634;
/** 126 ln 2, the exponent of the smallest normal number: what is smaller is zero. */
const limit: f32 = 87.33654;

/** ln 2 in two parts, the first short enough that its multiples are exact. */
const ln2High: f32 = 0.693359375;
const ln2Low: f32 = -2.12194440e-4;

/** exp(-t) for t >= 0, lane by lane; NaN for NaN. exp(-t) = 2^-n exp(r), n = round(t / ln 2), |r| <= ln(2) / 2. */
// @ts-ignore: decorator
@inline
export function decay(t: v128): v128 {
  const bounded = f32x4.pmin(t, f32x4.splat(88));
  const n = f32x4.nearest(f32x4.mul(bounded, f32x4.splat(log2e)));
  const r = f32x4.add(f32x4.sub(f32x4.mul(n, f32x4.splat(ln2High)), bounded), f32x4.mul(n, f32x4.splat(ln2Low)));
  let p = f32x4.splat(1.9875691500e-4);
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  p = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(p, r), r), r), f32x4.splat(1));
  const scaled = i32x4.sub(p, i32x4.shl(i32x4.trunc_sat_f32x4_s(n), 23));
  return v128.andnot(scaled, f32x4.ge(t, f32x4.splat(limit)));
}

// @ts-ignore: decorator
@inline
export function sumOf(v: v128): f64 {
  return <f64>f32x4.extract_lane(v, 0) + <f64>f32x4.extract_lane(v, 1) + <f64>f32x4.extract_lane(v, 2) + <f64>f32x4.extract_lane(v, 3);
}

/** Largest of n numbers; NaN are passed over. */
export function maximum(x: usize, n: u32): f32 {
  let a = f32x4.splat(-Infinity);
  let b = a;
  let i: u32 = 0;
  for (; i + 8 <= n; i += 8) {
    const at = x + (<usize>i << 2);
    a = f32x4.pmax(a, v128.load(at));
    b = f32x4.pmax(b, v128.load(at, 16));
  }
  a = f32x4.pmax(a, b);
  let result = f32x4.extract_lane(a, 0);
  if (f32x4.extract_lane(a, 1) > result) result = f32x4.extract_lane(a, 1);
  if (f32x4.extract_lane(a, 2) > result) result = f32x4.extract_lane(a, 2);
  if (f32x4.extract_lane(a, 3) > result) result = f32x4.extract_lane(a, 3);
  for (; i < n; i++) {
    const value = load<f32>(x + (<usize>i << 2));
    if (value > result) result = value;
  }
  return result;
}
