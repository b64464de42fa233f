import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
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
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
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

test('external data becomes part of the model or of one data file, as asked for', () => {
  const source = openOnnx(join(golden, 'tensors-external.onnx'));
  const whole = openOnnx(join(golden, 'tensors.onnx'));
  const inOne = join(folder, 'one.onnx');
  writeOnnx(source, inOne);
  const inTwo = join(folder, 'two.onnx');
  const bytes = writeOnnx(openOnnx(inOne), inTwo, { externalData: true });
  // Only the tensor of 4,800 bytes is worth a place in the data file.
  expect(statSync(`${inTwo}.data`).size).toBe(4800);
  expect(bytes).toBe(statSync(inTwo).size + 4800);
  // Over itself: it is read to the end before it is replaced.
  writeOnnx(openOnnx(inTwo), inTwo, { externalData: true });
  for (const path of [inOne, inTwo]) {
    const model = openOnnx(path);
    for (const [name, { message }] of whole.initializers) {
      if (name === 'integers') continue;
      expect(model.readFloats(model.initializers.get(name)!.message)).toHaveSameBits(whole.readFloats(message));
    }
    expect(Buffer.compare(serializeOnnx(openOnnx(inOne)), serializeOnnx(model))).toBe(0);
  }
  expect(existsSync(`${inOne}.data`)).toBe(false);
});

test('a data file that is cut off is refused, and nothing is left of the file that was to be written', () => {
  for (const name of ['tensors-external.onnx', 'tensors-external.onnx.data'])
    cpSync(join(golden, name), join(folder, name));
  truncateSync(join(folder, 'tensors-external.onnx.data'), 1000);
  const before = readdirSync(folder).length;
  for (const externalData of [false, true]) {
    const model = openOnnx(join(folder, 'tensors-external.onnx'));
    errorOf(() => writeOnnx(model, join(folder, 'never.onnx'), { externalData }), 'file-malformed');
  }
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

test('more than 2 GB: one file is refused before anything is read, external data is written', () => {
  writeFileSync(join(folder, 'large'), '');
  // A hole in the file, which takes no space.
  truncateSync(join(folder, 'large'), 2 ** 31);
  const model = modelWith(externalTensor({ location: 'large' }, [2n ** 29n]));
  withBoundedMemory(() => {
    expect(errorOf(() => serializeOnnx(model), 'file-unsupported').message).toContain('2147483647');
    errorOf(() => writeOnnx(model, join(folder, 'm.onnx'), { externalData: false }), 'file-unsupported');
    // Beyond 4 GB, the length of a field itself is none that can be written.
    const larger = modelWith(externalTensor({ location: 'large' }, [2n ** 40n]));
    errorOf(() => serializeOnnx(larger), 'file-unsupported');
    errorOf(() => writeOnnx(larger, join(folder, 'm.onnx')), 'file-malformed');
    expect(errorOf(() => openOnnx(join(folder, 'large')), 'file-unsupported').hint).toContain('external data');
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

test('tensors of any type go to the data file, small ones and those in typed fields stay', () => {
  const path = join(folder, 'types.onnx');
  const initializers = [
    floatTensor('half', 'F16', [1024], new Float32Array(1024)),
    create(TensorProtoSchema, { name: 'bytes', dataType: 2, dims: [5000n], rawData: new Uint8Array(5000) }),
    create(TensorProtoSchema, { name: 'typed', dataType: 7, dims: [300n], int64Data: Array(300).fill(1n) }),
    floatTensor('small', 'F32', [4], new Float32Array(4)),
  ];
  const model = parseOnnx(buildModel({ nodes: [], inputs: {}, outputs: [], initializers }), path);
  writeOnnx(model, path, { externalData: true });
  const written = openOnnx(path);
  const external = [...written.initializers.values()].filter(({ message }) => message.externalData.length > 0);
  expect(external.map(({ message }) => message.name)).toEqual(['half', 'bytes']);
  expect(statSync(`${path}.data`).size).toBe(4096 + 5000);
  const one = serializeOnnx(written);
  expect([...parseOnnx(one, path).initializers.keys()]).toEqual(['half', 'bytes', 'typed', 'small']);
});
