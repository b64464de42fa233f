import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { serializeOnnx } from '../../../src/formats/onnx/writer.js';
import { errorOf, onlyTypedErrors, withBoundedMemory } from '../expect-error.js';
import { mutationsOf } from '../mutations.js';

const golden = join(import.meta.dirname, 'golden');
const files = ['tensors.onnx', 'tensors-external.onnx'].map((name) => readFileSync(join(golden, name)));

function openAll(bytes: Uint8Array): void {
  const model = parseOnnx(bytes, join(golden, 'hostile.onnx'));
  try {
    for (const { message } of model.initializers.values()) onlyTypedErrors(() => model.readFloats(message));
    serializeOnnx(model.withOutputs(['x']));
  } finally {
    model.close();
  }
}

const field = (number: number, length: number) =>
  new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(length).finish();

test('the files that are damaged below are valid', () => {
  for (const bytes of files) openAll(bytes);
});

test('cut anywhere, a model is malformed', () => {
  for (const bytes of files)
    for (let end = 0; end < bytes.byteLength; end += 7)
      errorOf(() => openAll(bytes.subarray(0, end)), 'file-malformed');
});

test('damaged anyhow, there are only typed errors and little memory is taken', { timeout: 60_000 }, () => {
  withBoundedMemory(() => {
    for (const bytes of files)
      fc.assert(
        fc.property(mutationsOf(bytes), (damaged) => onlyTypedErrors(() => openAll(damaged))),
        { numRuns: 1000 },
      );
  });
});

test('lengths that lie, and nesting without end', () => {
  const nested = (depth: number): Uint8Array => {
    let bytes: Uint8Array = new Uint8Array(0);
    // A node, with an attribute, with a graph, with a node …
    for (let level = 0; level < depth; level++)
      for (const number of [6, 5, 1]) bytes = Buffer.concat([field(number, bytes.byteLength), bytes]);
    return Buffer.concat([field(7, bytes.byteLength), bytes]);
  };
  withBoundedMemory(() => {
    for (const length of [1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])
      errorOf(() => openAll(field(7, length)), 'file-malformed');
    for (const depth of [40, 1000]) errorOf(() => openAll(nested(depth)), 'file-malformed');
  });
});

test.each([
  // Nodes without content; string_data of a tensor; ints of an attribute of a node. Two bytes each.
  ['nodes', [], 1, WireType.LengthDelimited],
  ['strings', [5], 6, WireType.LengthDelimited],
  ['integers', [1, 5], 8, WireType.Varint],
] as const)('more %s than any model has are refused before they take memory', (_, path, number, wireType) => {
  const many = Buffer.alloc(2 * 1_000_001);
  for (let i = 0; i < many.byteLength; i += 2) many[i] = (number << 3) | wireType;
  const bytes = [7, ...path].reduceRight(
    (content, outer) => Buffer.concat([field(outer, content.byteLength), content]),
    many,
  );
  withBoundedMemory(() => {
    expect(errorOf(() => openAll(bytes), 'file-malformed').message).toContain('more than 1000000 fields');
  }, 100);
});
