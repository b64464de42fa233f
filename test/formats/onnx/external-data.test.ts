import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { makeAttribute } from '../../../src/formats/onnx/node.js';
import { type TensorProto, TensorProtoSchema } from '../../../src/formats/onnx/proto/onnx_pb.js';
import { openOnnx, parseOnnx } from '../../../src/formats/onnx/reader.js';
import { serializeOnnx, writeOnnx } from '../../../src/formats/onnx/writer.js';
import '../../helpers.js';
import { errorOf, withBoundedMemory } from '../expect-error.js';
import { temporaryFolder } from '../temporary-folder.js';
import { buildGraph, buildModel } from './build-model.js';

const golden = join(import.meta.dirname, 'golden');
const folder = temporaryFolder();

function externalTensor(entries: Record<string, string>, dims = [2n], dataType = 1): TensorProto {
  const externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
  return create(TensorProtoSchema, { name: 'w', dataType, dims, dataLocation: 1, externalData });
}

function modelWith(tensor: TensorProto, path = join(folder, 'model.onnx')) {
  return parseOnnx(buildModel({ nodes: [], inputs: {}, outputs: [], initializers: [tensor] }), path);
}

const readFrom = (entries: Record<string, string>, dims?: bigint[]) => {
  const model = modelWith(externalTensor(entries, dims));
  return model.readFloats(model.initializers.get('w')!.message);
};

test('external data becomes part of the model', () => {
  const source = openOnnx(join(golden, 'tensors-external.onnx'));
  const whole = openOnnx(join(golden, 'tensors.onnx'));
  const path = join(folder, 'one.onnx');
  expect(writeOnnx(source, path)).toBe(statSync(path).size);
  expect(existsSync(`${path}.data`)).toBe(false);
  const model = openOnnx(path);
  for (const [name, { message }] of whole.initializers) {
    if (name === 'integers') continue;
    expect(model.readFloats(model.initializers.get(name)!.message)).toHaveSameBits(whole.readFloats(message));
  }
  expect(Buffer.compare(serializeOnnx(source), readFileSync(path))).toBe(0);
});

test('a data file that is cut off is refused, and nothing is left of the file that was to be written', () => {
  for (const name of ['tensors-external.onnx', 'tensors-external.onnx.data'])
    cpSync(join(golden, name), join(folder, name));
  truncateSync(join(folder, 'tensors-external.onnx.data'), 1000);
  const before = readdirSync(folder).length;
  const model = openOnnx(join(folder, 'tensors-external.onnx'));
  errorOf(() => writeOnnx(model, join(folder, 'never.onnx')), 'file-malformed');
  expect(readdirSync(folder)).toHaveLength(before);
});

test('only files inside the folder of the model are read', () => {
  const outside = temporaryFolder();
  writeFileSync(join(outside, 'secret'), Buffer.alloc(64));
  mkdirSync(join(folder, 'sub'));
  writeFileSync(join(folder, 'sub', 'data'), Buffer.alloc(64));
  symlinkSync(join(outside, 'secret'), join(folder, 'link'));
  symlinkSync(outside, join(folder, 'linked-folder'));
  expect(readFrom({ location: 'sub/data' })).toHaveLength(2);
  for (const location of [
    join(outside, 'secret'),
    '../secret',
    'sub/../../secret',
    'sub\\..\\..\\secret',
    'link',
    'linked-folder/secret',
    'sub/data\0',
  ])
    expect(errorOf(() => readFrom({ location }), 'file-unsupported').message).toContain('not a path inside');
  errorOf(() => readFrom({ location: 'sub' }), 'file-unreadable');
  errorOf(() => readFrom({ location: 'missing' }), 'file-unreadable');
});

test('ranges that lie take no memory', () => {
  writeFileSync(join(folder, 'data'), Buffer.alloc(64));
  const location = 'data';
  withBoundedMemory(() => {
    errorOf(() => readFrom({ location }, [2n ** 38n]), 'file-malformed');
    errorOf(() => readFrom({ location, offset: '60' }), 'file-malformed');
    errorOf(() => readFrom({ location, offset: '9007199254740991' }), 'file-malformed');
    errorOf(() => readFrom({ location, length: '4' }), 'file-malformed');
    errorOf(() => readFrom({ location, length: '8589934592' }, [2n ** 31n]), 'file-malformed');
    for (const offset of ['-4', '1e3', '', ' 1', '99999999999999999999'])
      errorOf(() => readFrom({ location, offset }), 'file-malformed');
    errorOf(() => readFrom({ offset: '0' }), 'file-malformed');
  }, 100);
});

test('more than 2 GB is refused before anything is read, with what can be done', () => {
  writeFileSync(join(folder, 'large'), '');
  // A hole in the file, which takes no space.
  truncateSync(join(folder, 'large'), 2 ** 31);
  withBoundedMemory(() => {
    for (const size of [2n ** 29n, 2n ** 40n]) {
      const model = modelWith(externalTensor({ location: 'large' }, [size]));
      const error = errorOf(() => serializeOnnx(model), 'file-unsupported');
      expect(error.message).toContain('2147483647');
      expect(error.hint).toContain('half precision');
      errorOf(() => writeOnnx(model, join(folder, 'm.onnx')), 'file-unsupported');
    }
    expect(errorOf(() => openOnnx(join(folder, 'large')), 'file-unsupported').hint).toContain('half precision');
  }, 100);
});

test('external data in attributes and subgraphs is refused', () => {
  const tensor = externalTensor({ location: 'data' });
  const attributes = [makeAttribute('value', tensor)];
  const constant = { opType: 'Constant', input: [], output: ['c'], attributes };
  const graph = buildGraph({ nodes: [constant], inputs: {}, outputs: ['c'] });
  const branch = { ...makeAttribute('then_branch', 1), g: graph };
  const inside = { opType: 'If', input: ['x'], output: ['y'], attributes: [branch] };
  for (const node of [constant, inside]) {
    const bytes = buildModel({ nodes: [node], inputs: {}, outputs: [] });
    expect(errorOf(() => parseOnnx(bytes, 'm.onnx'), 'file-unsupported').message).toContain('(Constant)');
  }
});
