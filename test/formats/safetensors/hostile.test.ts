import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countJson } from '../../../src/formats/json-file.js';
import { SafetensorsFile } from '../../../src/formats/safetensors/reader.js';
import { errorOf, onlyTypedErrors, withBoundedMemory } from '../expect-error.js';
import { mutationsOf } from '../mutations.js';
import { temporaryFolder } from '../temporary-folder.js';

const path = join(temporaryFolder(), 'hostile.safetensors');

function build(header: unknown, data = new Uint8Array(64), length?: bigint): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  return Buffer.concat([Buffer.from(new BigUint64Array([length ?? BigInt(json.byteLength)]).buffer), json, data]);
}

function openAll(bytes: Uint8Array): void {
  writeFileSync(path, bytes);
  const file = new SafetensorsFile(path);
  try {
    for (const name of file.header.tensors.keys()) file.readMatrix(name);
  } finally {
    file.close();
  }
}

const tensor = (dtype: string, shape: unknown, from: number, to: number) => ({
  dtype,
  shape,
  data_offsets: [from, to],
});
const valid = build({
  __metadata__: { format: 'pt' },
  a: tensor('F32', [2, 4], 0, 32),
  b: tensor('F16', [8], 32, 48),
  c: tensor('BF16', [2, 4], 48, 64),
});

test('the file that is damaged below is valid', () => {
  openAll(valid);
});

test('cut anywhere, it is malformed', () => {
  for (let end = 0; end < valid.byteLength; end++) errorOf(() => openAll(valid.subarray(0, end)), 'file-malformed');
});

test('damaged anyhow, there are only typed errors and little memory is taken', () => {
  withBoundedMemory(() => {
    fc.assert(
      fc.property(mutationsOf(valid), (bytes) => onlyTypedErrors(() => openAll(bytes))),
      { numRuns: 2000 },
    );
  });
});

test('any JSON as a header gives only typed errors', () => {
  const entry = fc.record(
    { dtype: fc.anything(), shape: fc.anything(), data_offsets: fc.array(fc.maxSafeInteger(), { maxLength: 3 }) },
    { requiredKeys: [] },
  );
  const header = fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), fc.oneof(entry, fc.jsonValue())));
  fc.assert(
    fc.property(header, (value) => {
      const text = JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? Number(each) : each));
      onlyTypedErrors(() => openAll(build(text)));
    }),
    { numRuns: 1000 },
  );
});

const huge = 2 ** 52;
test.each([
  ['a header length of 2^64 - 1', build({}, undefined, 2n ** 64n - 1n), 'at most'],
  ['a header longer than the file', build({}, undefined, 5000n), 'the file has'],
  ['a header of 200 MB', build({}, undefined, 200_000_000n), 'at most'],
  ['an unknown dtype', build({ a: tensor('F7', [1], 0, 1) }), 'unknown dtype F7'],
  ['a dtype that objects have', build({ a: tensor('constructor', [1], 0, 1) }), 'unknown dtype'],
  ['a shape that overflows', build({ a: tensor('F32', [huge, huge, huge], 0, 0) }), 'takes'],
  ['a shape that overflows to zero', build({ a: tensor('F32', [2 ** 32, 2 ** 32], 0, 0) }), 'takes'],
  ['a negative dimension', build({ a: tensor('F32', [-1, -4], 0, 16) }), 'tensor a'],
  ['a broken dimension', build({ a: tensor('F32', [1.5, 2], 0, 12) }), 'tensor a'],
  ['nine dimensions', build({ a: tensor('F32', [1, 1, 1, 1, 1, 1, 1, 1, 1], 0, 4) }), 'tensor a'],
  ['offsets that do not fit the shape', build({ a: tensor('F32', [2], 0, 4) }), 'takes 8 bytes'],
  ['offsets in reverse', build({ a: tensor('F32', [0], 8, 4) }), 'takes'],
  ['offsets beyond the file', build({ a: tensor('F32', [100], 0, 400) }), 'truncated'],
  ['tensors that overlap', build({ a: tensor('F32', [4], 0, 16), b: tensor('F32', [4], 12, 28) }), 'overlap'],
  [
    'a name twice',
    build('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'),
    'twice',
  ],
  ['metadata that are no strings', build({ __metadata__: { a: 1 } }), '__metadata__'],
  ['a list', build([]), 'not an object'],
  ['no UTF-8', build('"\xff"'.replace('ÿ', '')), 'not an object'],
  ['brackets without end', build('['.repeat(1_000_000)), '3 levels'],
  ['a list without end', build(`{"a":{"shape":[${'0,'.repeat(9_000_000)}0]}}`), 'values'],
] as const)('%s is malformed', (_, bytes, named) => {
  expect(errorOf(() => openAll(bytes), 'file-malformed').message).toContain(named);
});

test('a type that is no float, and a tensor that is no matrix, are refused when read', () => {
  errorOf(() => openAll(build({ a: tensor('I64', [1], 0, 8) })), 'shape-mismatch');
  errorOf(() => openAll(build({ a: tensor('F16', [1, 2, 2], 0, 8) })), 'shape-mismatch');
});

test('parts outside of a tensor are refused', () => {
  writeFileSync(path, valid);
  const file = new SafetensorsFile(path);
  errorOf(() => file.readBytes('a', 30, 4), 'shape-mismatch');
  errorOf(() => file.readBytes('a', -1, 4), 'shape-mismatch');
  errorOf(() => file.readBytes('x'), 'unknown-name');
  file.close();
});

test('values are counted outside of strings', () => {
  const limits = { bytes: 1e6, depth: 10, values: 1e6 };
  const count = (text: string) => countJson(Buffer.from(text), limits).values;
  expect(count('"a,[b\\",]"')).toBe(1);
  expect(count('[1,2,3]')).toBe(4);
  expect(count('{"a":[1,2],"b":{"c":","}}')).toBe(6);
});
