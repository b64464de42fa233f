import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { layOut } from '../../../src/formats/safetensors/layout.js';
import { SafetensorsFile } from '../../../src/formats/safetensors/reader.js';
import { ShardedWriter } from '../../../src/formats/safetensors/sharded-writer.js';
import { SafetensorsWriter } from '../../../src/formats/safetensors/writer.js';
import '../../helpers.js';
import { errorOf } from '../expect-error.js';
import { temporaryFolder } from '../temporary-folder.js';

const folder = temporaryFolder();
const types = { F32: 4, F16: 2, BF16: 2 } as const;

const tensor = fc.record({
  name: fc.oneof(fc.string({ minLength: 1, unit: 'grapheme' }), fc.constantFrom('__proto__', 'constructor', 'a.b')),
  dtype: fc.constantFrom('F32', 'F16', 'BF16'),
  shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 2 }),
});
const tensors = fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 8 });
const metadata = fc.dictionary(
  fc.string({ unit: 'grapheme' }).filter((key) => key !== '__proto__'),
  fc.string(),
);

test('what is written is read, whatever the names, shapes and order', () => {
  const path = join(folder, 'any.safetensors');
  fc.assert(
    fc.property(tensors, metadata, fc.infiniteStream(fc.integer({ min: -8, max: 8 })), (plan, strings, numbers) => {
      fc.pre(plan.every(({ name }) => name !== '__metadata__'));
      const writer = new SafetensorsWriter(path, plan, strings);
      const values = plan.map(({ shape }) =>
        Float32Array.from(
          { length: shape.reduce((product, length) => product * length, 1) },
          () => numbers.next().value as number,
        ),
      );
      for (const [i, { name }] of [...plan.entries()].reverse()) {
        writer.writeFloats(name, values[i]!.subarray(0, 1));
        writer.writeFloats(name, values[i]!.subarray(1));
      }
      writer.commit();
      const file = new SafetensorsFile(path);
      expect(Object.fromEntries(file.header.metadata)).toEqual(strings);
      expect([...file.header.tensors.keys()].sort()).toEqual(plan.map(({ name }) => name).sort());
      for (const [i, { name, dtype, shape }] of plan.entries()) {
        expect(file.tensor(name)).toMatchObject({ dtype, shape });
        // Aligned for its type, as readers that map the file need it.
        expect(file.tensor(name).begin % types[dtype]).toBe(0);
        expect(file.readMatrix(name).data).toHaveSameBits(values[i]!);
      }
      expect(statSync(path).size).toBe(writer.fileBytes);
      file.close();
    }),
  );
  expect(readdirSync(folder)).toEqual(['any.safetensors']);
});

test('the bytes of a file are what the format says', () => {
  const path = join(folder, 'bytes.safetensors');
  const writer = new SafetensorsWriter(path, [
    { name: 'm', dtype: 'U8', shape: [3] },
    { name: 'w', dtype: 'F16', shape: [1, 2] },
  ]);
  writer.writeBytes('m', Uint8Array.of(1, 2, 3));
  writer.writeFloats('w', Float32Array.of(1, -2));
  writer.commit();
  const json =
    '{"w":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]},"m":{"dtype":"U8","shape":[3],"data_offsets":[4,7]}}';
  const padded = json.padEnd(Math.ceil(json.length / 8) * 8);
  const expected = Buffer.concat([
    Buffer.from(new BigUint64Array([BigInt(padded.length)]).buffer),
    Buffer.from(padded),
    Buffer.from([0x00, 0x3c, 0x00, 0xc0, 1, 2, 3]),
  ]);
  expect(readFileSync(path)).toEqual(expected);
});

test('too few, too many and unknown bytes are refused, and leave no file', () => {
  const path = join(folder, 'wrong.safetensors');
  const writer = new SafetensorsWriter(path, [{ name: 'a', dtype: 'F16', shape: [2] }]);
  writer.writeFloats('a', Float32Array.of(1));
  errorOf(() => writer.commit(), 'shape-mismatch');
  errorOf(() => writer.writeFloats('a', Float32Array.of(1, 2)), 'shape-mismatch');
  errorOf(() => writer.writeBytes('b', new Uint8Array(1)), 'unknown-name');
  errorOf(() => writer.writeFloats('a', Float32Array.of(1e6)), 'non-finite-value');
  writer.abort();
  expect(readdirSync(folder).filter((name) => name.includes('wrong'))).toEqual([]);
});

test('plans that no file can hold are refused', () => {
  const a = { name: 'a', dtype: 'F16', shape: [2] };
  errorOf(() => layOut([a, a]), 'option-out-of-range');
  errorOf(() => layOut([{ ...a, dtype: 'F17' }]), 'option-out-of-range');
  errorOf(() => layOut([{ ...a, shape: [2 ** 40, 2 ** 40] }]), 'option-out-of-range');
  errorOf(() => layOut([{ ...a, shape: [-1] }]), 'option-out-of-range');
  errorOf(() => layOut([{ ...a, name: '__metadata__' }]), 'option-out-of-range');
});

test('an empty tensor may be written when the rest is there', () => {
  const groups = [
    {
      tensors: [
        { name: 'a', dtype: 'F32', shape: [1] },
        { name: 'b', dtype: 'F16', shape: [0] },
      ],
    },
  ];
  const writer = new ShardedWriter(join(folder, 'empty'), groups);
  writer.writeFloats('a', Float32Array.of(1));
  writer.writeFloats('b', new Float32Array(0));
  writer.writeBytes('b', new Uint8Array(0));
  writer.commit();
  const file = new SafetensorsFile(join(folder, 'empty', 'model.safetensors'));
  expect(file.readMatrix('b').data.length).toBe(0);
  file.close();
});

test('aborting removes shards that are written', () => {
  const path = join(folder, 'aborted');
  const groups = ['a', 'b', 'c'].map((name) => ({ tensors: [{ name, dtype: 'F32', shape: [4] }] }));
  const writer = new ShardedWriter(path, groups, { maximumShardBytes: 16 });
  expect(writer.fileNames).toEqual([
    'model-00001-of-00003.safetensors',
    'model-00002-of-00003.safetensors',
    'model-00003-of-00003.safetensors',
    'model.safetensors.index.json',
  ]);
  writer.writeFloats('a', new Float32Array(4));
  writer.writeFloats('b', new Float32Array(2));
  errorOf(() => writer.commit(), 'shape-mismatch');
  writer.abort();
  expect(readdirSync(path)).toEqual([]);
});
