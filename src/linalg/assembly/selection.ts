// Exact selection of the n-th largest magnitude: the bit pattern of |x| orders like its value.
// The twins in ../elementwise.ts are the specification.

// One histogram per lane, so that neighbours in one bin do not wait for each other's store.
const lanes: usize = 4;
const binShift: u32 = 19;
const binCount: usize = 4096;

// @ts-expect-error: decorator
@inline
function countBits(bins: usize, bits: v128): void {
  const bin = v128.shr<i32>(bits, binShift);
  const p0 = bins + ((<usize>i32x4.extract_lane(bin, 0)) << 2);
  store<u32>(p0, load<u32>(p0) + 1);
  const p1 = bins + ((<usize>i32x4.extract_lane(bin, 1)) << 2) + binCount * 4;
  store<u32>(p1, load<u32>(p1) + 1);
  const p2 = bins + ((<usize>i32x4.extract_lane(bin, 2)) << 2) + binCount * 8;
  store<u32>(p2, load<u32>(p2) + 1);
  const p3 = bins + ((<usize>i32x4.extract_lane(bin, 3)) << 2) + binCount * 12;
  store<u32>(p3, load<u32>(p3) + 1);
}

function clearBins(bins: usize): void {
  memory.fill(bins, 0, lanes * binCount * 4);
}

function mergeBins(bins: usize): void {
  for (let i: usize = 0; i < binCount; i++) {
    const at = bins + (i << 2);
    store<u32>(at, load<u32>(at) + load<u32>(at + binCount * 4) + load<u32>(at + binCount * 8) + load<u32>(at + binCount * 12));
  }
}

/** x += y; then the histogram of the upper 12 bits of |x|. bins: room for 4 x 4096 counts. */
export function addAndCount(x: usize, y: usize, n: u32, bins: usize): void {
  clearBins(bins);
  const magnitude = i32x4.splat(0x7fffffff);
  const end = n & ~3;
  let i: u32 = 0;
  for (; i < end; i += 4) {
    const at = (<usize>i) << 2;
    const sum = f32x4.add(v128.load(x + at), v128.load(y + at));
    v128.store(x + at, sum);
    countBits(bins, v128.and(sum, magnitude));
  }
  for (; i < n; i++) {
    const at = (<usize>i) << 2;
    const sum = load<f32>(x + at) + load<f32>(y + at);
    store<f32>(x + at, sum);
    const bin = bins + (((reinterpret<u32>(sum) & 0x7fffffff) >>> binShift) << 2);
    store<u32>(bin, load<u32>(bin) + 1);
  }
  mergeBins(bins);
}

/** The histogram of the upper 12 bits of |x|. */
export function countMagnitudes(x: usize, n: u32, bins: usize): void {
  clearBins(bins);
  const magnitude = i32x4.splat(0x7fffffff);
  const end = n & ~3;
  let i: u32 = 0;
  for (; i < end; i += 4) countBits(bins, v128.and(v128.load(x + ((<usize>i) << 2)), magnitude));
  for (; i < n; i++) {
    const bin = bins + (((load<u32>(x + ((<usize>i) << 2)) & 0x7fffffff) >>> binShift) << 2);
    store<u32>(bin, load<u32>(bin) + 1);
  }
  mergeBins(bins);
}

/** Refines one bin: the histogram over bits 7..18 of those |x| whose upper 12 bits are `bin`. */
export function countWithinBin(x: usize, n: u32, bin: u32, bins: usize): void {
  memory.fill(bins, 0, binCount * 4);
  const magnitude = i32x4.splat(0x7fffffff);
  const wanted = i32x4.splat(bin);
  const end = n & ~3;
  let i: u32 = 0;
  for (; i < end; i += 4) {
    const bits = v128.and(v128.load(x + ((<usize>i) << 2)), magnitude);
    const hit = i32x4.eq(v128.shr<i32>(bits, binShift), wanted);
    if (!v128.any_true(hit)) continue;
    let flags = i32x4.bitmask(hit);
    while (flags) {
      const lane = ctz(flags);
      flags &= flags - 1;
      const value = load<u32>(x + ((<usize>(i + lane)) << 2)) & 0x7ffff;
      const at = bins + ((value >>> 7) << 2);
      store<u32>(at, load<u32>(at) + 1);
    }
  }
  for (; i < n; i++) {
    const value = load<u32>(x + ((<usize>i) << 2)) & 0x7fffffff;
    if (value >>> binShift != bin) continue;
    const at = bins + (((value & 0x7ffff) >>> 7) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
}

/** Refines once more: the histogram over bits 0..6 of those |x| whose upper 24 bits are `prefix`. */
export function countWithinPrefix(x: usize, n: u32, prefix: u32, bins: usize): void {
  memory.fill(bins, 0, 128 * 4);
  const magnitude = i32x4.splat(0x7fffffff);
  const wanted = i32x4.splat(prefix);
  const end = n & ~3;
  let i: u32 = 0;
  for (; i < end; i += 4) {
    const bits = v128.and(v128.load(x + ((<usize>i) << 2)), magnitude);
    let flags = i32x4.bitmask(i32x4.eq(v128.shr<i32>(bits, 7), wanted));
    while (flags) {
      const lane = ctz(flags);
      flags &= flags - 1;
      const at = bins + ((load<u32>(x + ((<usize>(i + lane)) << 2)) & 0x7f) << 2);
      store<u32>(at, load<u32>(at) + 1);
    }
  }
  for (; i < n; i++) {
    const value = load<u32>(x + ((<usize>i) << 2)) & 0x7fffffff;
    if (value >>> 7 != prefix) continue;
    const at = bins + ((value & 0x7f) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
}

/**
 * Splits t in place: kept[i] = t[i] where |t[i]| is above `limit` (a bit pattern) or among the first `ties`
 * equal to it, else 0; t -= kept.
 */
export function split(t: usize, n: u32, limit: u32, ties: u32, kept: usize): void {
  const magnitude = i32x4.splat(0x7fffffff);
  const bound = i32x4.splat(limit);
  const end = n & ~3;
  let i: u32 = 0;
  for (; i < end; i += 4) {
    const at = (<usize>i) << 2;
    const value = v128.load(t + at);
    const bits = v128.and(value, magnitude);
    let keep = i32x4.gt_s(bits, bound);
    const equal = i32x4.eq(bits, bound);
    if (ties != 0 && v128.any_true(equal)) {
      let flags = i32x4.bitmask(equal);
      while (flags && ties) {
        const lane = ctz(flags);
        flags &= flags - 1;
        ties--;
        if (lane == 0) keep = i32x4.replace_lane(keep, 0, -1);
        else if (lane == 1) keep = i32x4.replace_lane(keep, 1, -1);
        else if (lane == 2) keep = i32x4.replace_lane(keep, 2, -1);
        else keep = i32x4.replace_lane(keep, 3, -1);
      }
    }
    v128.store(kept + at, v128.and(value, keep));
    v128.store(t + at, v128.andnot(value, keep));
  }
  for (; i < n; i++) {
    const at = (<usize>i) << 2;
    const value = load<f32>(t + at);
    const bits = reinterpret<u32>(value) & 0x7fffffff;
    let keep = bits > limit;
    if (bits == limit && ties) {
      ties--;
      keep = true;
    }
    store<f32>(kept + at, keep ? value : 0);
    store<f32>(t + at, keep ? 0 : value);
  }
}
