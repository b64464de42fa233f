import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { tensorTypes } from '../../../src/formats/gguf/types.js';
import { SafetensorsFile } from '../../../src/formats/safetensors/reader.js';
import '../../helpers.js';

/** Made by the gguf package of Python: golden/make_goldens.py. */
const golden = new SafetensorsFile(join(import.meta.dirname, '../golden/dequantize.safetensors'));
afterAll(() => golden.close());

test.each([...tensorTypes.values()].map((type) => [type.name, type] as const))(
  '%s blocks decode as in gguf',
  (name, type) => {
    const blocks = golden.readBytes(`${name}.blocks`);
    const expected = golden.readMatrix(`${name}.values`);
    expect(golden.tensor(`${name}.blocks`).shape[1]).toBe(type.bytes);
    expect(expected.columns).toBe(type.values);
    const actual = new Float32Array(expected.data.length);
    type.decode(blocks, actual);
    expect(actual).toHaveSameBits(expected.data);
  },
);
