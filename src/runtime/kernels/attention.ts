// Attention of one query over a ring of `slots` keys or values, each headSize floats, beginning with slot `start`.
import { multiplyAdd, sumOf } from './lanes';

/** scores[i] = scale * query . key of slot (start + i) mod slots. */
export function attentionScores(scores: usize, query: usize, keys: usize, headSize: u32, slots: u32, start: u32, count: u32, scale: f32): void {
  const bytes = <usize>headSize << 2;
  const whole = bytes & ~15;
  let slot = start;
  for (let i: u32 = 0; i < count; i++) {
    const key = keys + <usize>slot * bytes;
    let a = f32x4.splat(0);
    let b = a;
    let j: usize = 0;
    for (; j + 32 <= bytes; j += 32) {
      a = multiplyAdd(v128.load(query + j), v128.load(key + j), a);
      b = multiplyAdd(v128.load(query + j, 16), v128.load(key + j, 16), b);
    }
    for (; j < whole; j += 16) a = multiplyAdd(v128.load(query + j), v128.load(key + j), a);
    let sum = sumOf(f32x4.add(a, b));
    for (; j < bytes; j += 4) sum += load<f32>(query + j) * load<f32>(key + j);
    store<f32>(scores + (<usize>i << 2), sum * scale);
    if (++slot == slots) slot = 0;
  }
}

/** target = scale * sum over i of weights[i] * value of slot (start + i) mod slots. */
export function mixValues(target: usize, weights: usize, values: usize, headSize: u32, slots: u32, start: u32, count: u32, scale: f32): void {
  const bytes = <usize>headSize << 2;
  let j: usize = 0;
  for (; j + 32 <= bytes; j += 32) {
    let a = f32x4.splat(0);
    let b = a;
    let slot = start;
    for (let i: u32 = 0; i < count; i++) {
      const weight = v128.load32_splat(weights + (<usize>i << 2));
      const at = values + <usize>slot * bytes + j;
      a = multiplyAdd(weight, v128.load(at), a);
      b = multiplyAdd(weight, v128.load(at, 16), b);
      if (++slot == slots) slot = 0;
    }
    v128.store(target + j, f32x4.mul(a, f32x4.splat(scale)));
    v128.store(target + j, f32x4.mul(b, f32x4.splat(scale)), 16);
  }
  for (; j < bytes; j += 4) {
    let sum: f32 = 0;
    let slot = start;
    for (let i: u32 = 0; i < count; i++) {
      sum += load<f32>(weights + (<usize>i << 2)) * load<f32>(values + <usize>slot * bytes + j);
      if (++slot == slots) slot = 0;
    }
    store<f32>(target + j, sum * scale);
  }
}
