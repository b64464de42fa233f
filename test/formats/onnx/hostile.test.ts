import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { test } from 'vitest';
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
  const field = (number: number, length: number) =>
    new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(length).finish();
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

test('more nodes than any model has are refused before they take memory', () => {
  const empty = new Uint8Array(2 * 1_100_000);
  // Nodes without content.
  for (let i = 0; i < empty.byteLength; i += 2) empty[i] = (1 << 3) | WireType.LengthDelimited;
  const header = new BinaryWriter().tag(7, WireType.LengthDelimited).uint32(empty.byteLength).finish();
  errorOf(() => openAll(Buffer.concat([header, empty])), 'file-malformed');
});
