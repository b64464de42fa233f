import { DoubleSparseError } from '../errors.js';

/** Floating point types of weights in files, by their safetensors names. */
const floatTypes = ['F64', 'F32', 'F16', 'BF16'] as const;
export type FloatType = (typeof floatTypes)[number];

export function isFloatType(name: string): name is FloatType {
  return (floatTypes as readonly string[]).includes(name);
}

let halfTable: Float32Array | undefined;

/** The value of every fp16 bit pattern (IEEE 754 binary16). */
function halfValues(): Float32Array {
  if (halfTable) return halfTable;
  const table = new Float32Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) table[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 31) table[bits] = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    else table[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  halfTable = table;
  return table;
}

/** The fp16 value in the two bytes at `at`, little-endian. */
export function halfToFloat(bytes: Uint8Array, at: number): number {
  const table = halfTable ?? halfValues();
  return table[(bytes[at] as number) | ((bytes[at + 1] as number) << 8)] as number;
}

/**
 * Decodes little-endian floats into fp32.
 * @param bytes a whole number of values; need not be aligned.
 * @param target receives bytes.length / bytesPerValue values; made if absent.
 */
export function decodeFloats(type: FloatType, bytes: Uint8Array, target?: Float32Array): Float32Array {
  const count = bytes.byteLength / bytesPerFloat(type);
  const result = target ?? new Float32Array(count);
  if (!Number.isInteger(count) || result.length !== count) {
    throw new DoubleSparseError(
      'shape-mismatch',
      `${bytes.byteLength} bytes of ${type} do not make ${result.length} values`,
      {
        data: { bytes: bytes.byteLength, type, values: result.length },
      },
    );
  }
  if (type === 'F32') {
    new Uint8Array(result.buffer, result.byteOffset, result.byteLength).set(bytes);
    return result;
  }
  if (type === 'F64') {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < count; i++) result[i] = view.getFloat64(i * 8, true);
    return result;
  }
  const words = wordsOf(bytes);
  if (type === 'F16') {
    const table = halfValues();
    for (let i = 0; i < count; i++) result[i] = table[words[i] as number] as number;
  } else {
    const bits = new Uint32Array(result.buffer, result.byteOffset, count);
    for (let i = 0; i < count; i++) bits[i] = (words[i] as number) << 16;
  }
  return result;
}

/** Bytes as 16-bit words: a view where they are aligned, else a copy. */
function wordsOf(bytes: Uint8Array): Uint16Array {
  return bytes.byteOffset % 2 === 0
    ? new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
    : new Uint16Array(bytes.slice().buffer);
}

/** Are encoded floats free of NaN and infinity? @param bytes a whole number of values; need not be aligned. */
export function areFinite(type: WritableFloatType, bytes: Uint8Array): boolean {
  const words = wordsOf(bytes);
  const step = bytesPerFloat(type) / 2;
  const exponent = type === 'F16' ? 0x7c00 : 0x7f80;
  for (let top = step - 1; top < words.length; top += step)
    if (((words[top] as number) & exponent) === exponent) return false;
  return true;
}

export function bytesPerFloat(type: FloatType): number {
  return type === 'F64' ? 8 : type === 'F32' ? 4 : 2;
}

/** What a conversion to fewer bits did to finite values. */
export interface EncodingLoss {
  /** Finite values that became infinite. */
  readonly overflowed: number;
  /** Values that were not zero and became zero. */
  readonly vanished: number;
}

/** Types that are written. */
export type WritableFloatType = Exclude<FloatType, 'F64'>;

/**
 * Encodes fp32 as little-endian floats, rounding to nearest, ties to even.
 * @param target receives values.length * bytesPerValue bytes; need not be aligned.
 * @throws DoubleSparseError `shape-mismatch` when the lengths disagree.
 */
export function encodeFloats(type: WritableFloatType, values: Float32Array, target: Uint8Array): EncodingLoss {
  if (target.byteLength !== values.length * bytesPerFloat(type)) {
    throw new DoubleSparseError(
      'shape-mismatch',
      `${values.length} values of ${type} do not fit ${target.byteLength} bytes`,
      { data: { type, values: values.length, bytes: target.byteLength } },
    );
  }
  if (type === 'F32') {
    target.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return { overflowed: 0, vanished: 0 };
  }
  const toBits = type === 'F16' ? halfBits : brainBits;
  const infinity = type === 'F16' ? 0x7c00 : 0x7f80;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  let [overflowed, vanished] = [0, 0];
  for (let i = 0; i < bits.length; i++) {
    const from = bits[i] as number;
    const to = toBits(from);
    const magnitude = to & 0x7fff;
    if (magnitude === infinity && (from & 0x7fffffff) < 0x7f800000) overflowed++;
    if (magnitude === 0 && (from & 0x7fffffff) !== 0) vanished++;
    target[2 * i] = to & 0xff;
    target[2 * i + 1] = to >>> 8;
  }
  return { overflowed, vanished };
}

/** fp32 bits to fp16 bits. */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  // From 65520, half-way beyond the largest number 65504, everything is infinite.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rebiased = magnitude - 0x38000000;
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  // Subnormal numbers count in units of 2^-24; below half a unit is zero.
  if (magnitude < 0x33000000) return sign;
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - (magnitude >>> 23);
  const half = (1 << (shift - 1)) - 1;
  return sign | ((mantissa + half + ((mantissa >>> shift) & 1)) >>> shift);
}

/** fp32 bits to bf16 bits. */
function brainBits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}
