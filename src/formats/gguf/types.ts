import { decodeFloats } from '../dtype.js';
import { dequantizeQ4_0, dequantizeQ4_1 } from './blocks/q4.js';
import { dequantizeQ4K } from './blocks/q4-k.js';
import { dequantizeQ5_0, dequantizeQ5_1 } from './blocks/q5.js';
import { dequantizeQ5K } from './blocks/q5-k.js';
import { dequantizeQ6K } from './blocks/q6-k.js';
import { dequantizeQ8_0 } from './blocks/q8.js';

/** A way to store tensor values: blocks of `values` values in `bytes` bytes along a row. */
export interface TensorType {
  readonly name: string;
  readonly values: number;
  readonly bytes: number;
  /** Decodes a whole number of blocks. */
  decode(bytes: Uint8Array, target: Float32Array): void;
}

/** The types we read, by `ggml_type` (https://github.com/ggml-org/ggml/blob/master/include/ggml.h). */
export const tensorTypes: ReadonlyMap<number, TensorType> = new Map(
  (
    [
      [0, 'F32', 1, 4, (bytes, target) => void decodeFloats('F32', bytes, target)],
      [1, 'F16', 1, 2, (bytes, target) => void decodeFloats('F16', bytes, target)],
      [30, 'BF16', 1, 2, (bytes, target) => void decodeFloats('BF16', bytes, target)],
      [2, 'Q4_0', 32, 18, dequantizeQ4_0],
      [3, 'Q4_1', 32, 20, dequantizeQ4_1],
      [6, 'Q5_0', 32, 22, dequantizeQ5_0],
      [7, 'Q5_1', 32, 24, dequantizeQ5_1],
      [8, 'Q8_0', 32, 34, dequantizeQ8_0],
      [12, 'Q4_K', 256, 144, dequantizeQ4K],
      [13, 'Q5_K', 256, 176, dequantizeQ5K],
      [14, 'Q6_K', 256, 210, dequantizeQ6K],
    ] as readonly [number, string, number, number, TensorType['decode']][]
  ).map(([id, name, values, bytes, decode]) => [id, { name, values, bytes, decode }]),
);

/** Names of the types that exist and that we do not read, for messages. */
export const otherTypeNames: ReadonlyMap<number, string> = new Map([
  [9, 'Q8_1'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [15, 'Q8_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [20, 'IQ4_NL'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [23, 'IQ4_XS'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [28, 'F64'],
  [29, 'IQ1_M'],
  [34, 'TQ1_0'],
  [35, 'TQ2_0'],
  [39, 'MXFP4'],
]);
