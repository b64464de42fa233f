// Types of stored values, as in ../stored-matrix.ts.
export const BF16: u32 = 0;
export const F16: u32 = 1;
export const F32: u32 = 2;

/** Address of the tables of ../lane-orders.ts: a constant saves an addition for every eight columns. */
export const laneOrders: usize = 32768;

// Constants as loads: v128 constants in a loop would be made anew in every round.
/** Sign, exponent and mantissa of {@link halfLanes}. */
// @ts-ignore: decorator
@inline
export function halfBits(): v128 {
  return v128.load32_splat(laneOrders, 4352);
}

/** The upper half of each 32-bit lane. */
// @ts-ignore: decorator
@inline
export function upperBits(): v128 {
  return v128.load32_splat(laneOrders, 4356);
}

/** a * b + c, rounded once where the processor can. */
// @ts-ignore: decorator
@inline
export function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** Bytes of v in the order of `order`; zero where it is 0x80. */
// @ts-ignore: decorator
@inline
export function pick(v: v128, order: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(v, order);
  return i8x16.swizzle(v, order);
}

// fp16 in the upper half of a lane, shifted right by 3, has its exponent where fp32 has it: the value times 2^-112
// (subnormal numbers included). The bits between sign and exponent are copies of the sign and are masked.
// @ts-ignore: decorator
@inline
function fromUpperHalf(v: v128, type: u32): v128 {
  if (type == F16) return v128.and(i32x4.shr_s(v, 3), i32x4.splat(0x8fffe000));
  return v;
}

/** The lower four of eight 16-bit values as fp32, those of fp16 times 2^-112. */
// @ts-ignore: decorator
@inline
export function widenLow(v: v128, type: u32): v128 {
  return fromUpperHalf(v128.shuffle<i16>(i32x4.splat(0), v, 0, 8, 1, 9, 2, 10, 3, 11), type);
}

/** As {@link widenLow}, the upper four. */
// @ts-ignore: decorator
@inline
export function widenHigh(v: v128, type: u32): v128 {
  return fromUpperHalf(v128.shuffle<i16>(i32x4.splat(0), v, 4, 12, 5, 13, 6, 14, 7, 15), type);
}

/** The even ones of eight 16-bit values, as {@link widenLow}; `bits` is {@link halfBits} or {@link upperBits}. */
// @ts-ignore: decorator
@inline
export function evenLanes(v: v128, bits: v128, type: u32): v128 {
  const upper = i32x4.shl(v, 16);
  return type == F16 ? v128.and(i32x4.shr_s(upper, 3), bits) : upper;
}

/** The odd ones. */
// @ts-ignore: decorator
@inline
export function oddLanes(v: v128, bits: v128, type: u32): v128 {
  return v128.and(type == F16 ? i32x4.shr_s(v, 3) : v, bits);
}

/** One stored value, as {@link widenLow}. */
// @ts-ignore: decorator
@inline
export function widenOne(at: usize, type: u32): f32 {
  if (type == F32) return load<f32>(at);
  const upper = <i32>load<u16>(at) << 16;
  if (type == F16) return reinterpret<f32>((upper >> 3) & 0x8fffe000);
  return reinterpret<f32>(upper);
}

// 2^-112 is undone in two steps: x, which is loaded once for several rows, takes 2^80 (so |x| < 2^47 is in range), the
// sum the other 2^32.
const inputPower: f32 = 1.2089258196146292e24;
const sumPower: f32 = 4294967296.0;
/** 2^112 */
export const halfPower: f32 = 5.192296858534828e33;

// @ts-ignore: decorator
@inline
export function loadInput(at: usize, type: u32): v128 {
  const x = v128.load(at);
  return type == F16 ? f32x4.mul(x, f32x4.splat(inputPower)) : x;
}

// @ts-ignore: decorator
@inline
export function loadInputOne(at: usize, type: u32): f32 {
  const x = load<f32>(at);
  return type == F16 ? x * inputPower : x;
}

// @ts-ignore: decorator
@inline
export function sumOf(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** y[row] = sum, + bias[row] where there is a bias, + the old y[row] where asked for. */
// @ts-ignore: decorator
@inline
export function finish(y: usize, bias: usize, row: u32, sum: f32, type: u32, accumulate: bool): void {
  const at = <usize>row << 2;
  let result = type == F16 ? sum * sumPower : sum;
  if (bias) result += load<f32>(bias + at);
  if (accumulate) result += load<f32>(y + at);
  store<f32>(y + at, result);
}
