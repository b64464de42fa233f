import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { TensorProtoSchema } from '../../../src/formats/onnx/proto/onnx_pb.js';
import { openOnnx, parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import '../../helpers.js';
import { errorOf } from '../expect-error.js';
import { buildModel } from './build-model.js';

const golden = join(import.meta.dirname, 'golden');
const expected: Record<string, number[]> = JSON.parse(readFileSync(join(golden, 'tensors.json'), 'utf8'));
const anyModel = parseOnnx(buildModel({ nodes: [], inputs: {}, outputs: [] }), 'any.onnx');

// make_goldens.py says why no difference is allowed.
test.each(['tensors.onnx', 'tensors-external.onnx'])(
  'every float type in every field of %s, as the onnx package reads it',
  (file) => {
    const model = openOnnx(join(golden, file));
    for (const [name, values] of Object.entries(expected)) {
      const tensor = model.initializers.get(name)!.message;
      expect(model.readFloats(tensor), name).toHaveSameBits(Float32Array.from(values));
    }
    const integers = model.initializers.get('integers')!.message;
    expect(errorOf(() => model.readFloats(integers), 'shape-mismatch').message).toContain('INT64');
    model.close();
  },
);

test('written and read again, values are those of the type', () => {
  const values = Float32Array.of(1.5, -2, 0.0009765625, 65504);
  for (const type of ['F32', 'F16', 'BF16', 'F64'] as const) {
    const read = anyModel.readFloats(floatTensor('t', type, [2, 2], values));
    expect(read).toBeAllclose(values, { rtol: type === 'BF16' ? 2 ** -8 : 0 });
  }
});

test('values that do not fit are refused', () => {
  expect(errorOf(() => floatTensor('t', 'F16', [1], Float32Array.of(1e6)), 'non-finite-value').message).toContain(
    'F16',
  );
  errorOf(() => floatTensor('t', 'F32', [1], Float32Array.of(Number.NaN)), 'non-finite-value');
  errorOf(() => floatTensor('t', 'F32', [2, 3], new Float32Array(5)), 'shape-mismatch');
});

test.each([
  ['dimensions whose product overflows', { dims: [2n ** 40n, 2n ** 40n] }, 'has shape'],
  ['a negative dimension', { dims: [-1n] }, 'has shape'],
  ['an overflow hidden behind a zero', { dims: [2n ** 62n, 2n ** 62n, 0n] }, 'has shape'],
  ['more dimensions than any tensor has', { dims: Array(100).fill(1n) }, '100 dimensions'],
  ['more data than the shape', { dims: [1n], rawData: new Uint8Array(8) }, '8 bytes'],
  ['less data than the shape', { dims: [2n ** 40n], rawData: new Uint8Array(8) }, '8 bytes'],
  ['no data', { dims: [2n ** 40n] }, '0 values'],
  ['fewer values than the shape', { dims: [3n], floatData: [1, 2] }, '2 values'],
  ['values in the field of another type', { dims: [2n], doubleData: [1, 2] }, '0 values'],
])('%s: malformed', (_, fields, text) => {
  const tensor = create(TensorProtoSchema, { name: 't', dataType: 1, ...fields });
  expect(errorOf(() => anyModel.readFloats(tensor), 'file-malformed').message).toContain(text);
});

test('tensors in segments are refused', () => {
  const tensor = create(TensorProtoSchema, { name: 't', dataType: 1, dims: [1n], segment: { begin: 0n, end: 1n } });
  errorOf(() => anyModel.readFloats(tensor), 'file-unsupported');
});
