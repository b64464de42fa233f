import { readFileSync } from 'node:fs';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { expect, test } from 'vitest';
import { newPart } from '../../../src/formats/onnx/model.js';
import { makeNode } from '../../../src/formats/onnx/node.js';
import { type ModelProto, ModelProtoSchema } from '../../../src/formats/onnx/proto/onnx_pb.js';
import { openOnnx, parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { splitMessage } from '../../../src/formats/onnx/wire.js';
import { serializeOnnx } from '../../../src/formats/onnx/writer.js';
import { sharedData } from '../../smollm2-fixture.js';
import { errorOf } from '../expect-error.js';
import { buildModel } from './build-model.js';

const plain = buildModel({
  nodes: [
    { opType: 'Relu', name: 'first', input: ['x'], output: ['r'] },
    { opType: 'Add', name: 'second', input: ['r', 'w'], output: ['y'] },
  ],
  initializers: [floatTensor('w', 'F32', [2], Float32Array.of(1, 2))],
  inputs: { x: ['batch', 2] },
  outputs: ['y'],
});

/** The model with a field that the schema does not know in model, graph, nodes and tensors. */
function withUnknownFields(): Uint8Array {
  const model = fromBinary(ModelProtoSchema, plain);
  const unknown = (text: string) => {
    const data = new BinaryWriter().string(text).finish();
    return [{ no: 4711, wireType: WireType.LengthDelimited, data }];
  };
  model.$unknown = unknown('in the model');
  model.graph!.$unknown = unknown('in the graph');
  for (const node of model.graph!.node) node.$unknown = unknown(`in node ${node.name}`);
  model.graph!.initializer[0]!.$unknown = unknown('in a tensor');
  return toBinary(ModelProtoSchema, model);
}

const decode = (bytes: Uint8Array): ModelProto => fromBinary(ModelProtoSchema, bytes);

test('read and written, a model has the same bytes, unknown fields included', () => {
  for (const bytes of [plain, withUnknownFields()])
    expect(Buffer.compare(serializeOnnx(parseOnnx(bytes, 'm.onnx')), bytes)).toBe(0);
});

test.each(['resnet-fmnist.onnx', 'resnet-fmnist-folded.onnx'])('%s keeps its bytes', (name) => {
  const { path, reason } = sharedData(`fmnist/${name}`);
  if (path === undefined) return console.log(`skipped: ${reason}`);
  expect(Buffer.compare(serializeOnnx(openOnnx(path)), readFileSync(path))).toBe(0);
});

test('an edit leaves all other parts as they are', () => {
  const bytes = withUnknownFields();
  const model = parseOnnx(bytes, 'm.onnx');
  const [first, second] = model.nodes;
  const between = newPart(makeNode({ opType: 'Neg', name: 'new', input: ['r'], output: ['n'] }));
  const edited = parseOnnx(serializeOnnx(model.edited({ nodes: [first!, between, second!] })), 'm.onnx');
  expect(edited.nodes.map(({ message }) => message.name)).toEqual(['first', 'new', 'second']);
  expect(Buffer.compare(edited.nodes[0]!.bytes!, first!.bytes!)).toBe(0);
  expect(Buffer.compare(edited.nodes[2]!.bytes!, second!.bytes!)).toBe(0);
  const message = decode(serializeOnnx(edited));
  expect(message.$unknown).toHaveLength(1);
  expect(message.graph?.$unknown).toHaveLength(1);
  expect(message.graph?.initializer[0]?.$unknown).toHaveLength(1);
  expect(message.opsetImport[0]?.version).toBe(17n);
  // The source stays.
  expect(Buffer.compare(serializeOnnx(model), bytes)).toBe(0);
});

test('further outputs come behind the present ones, once', () => {
  const model = parseOnnx(plain, 'm.onnx').withOutputs(['r', 'y', 'r']);
  const { output } = decode(serializeOnnx(model)).graph!;
  expect(output.map(({ name }) => name)).toEqual(['y', 'r']);
});

test('the order of fields does not matter', () => {
  const fields = splitMessage(plain);
  const reversed = Buffer.concat(fields.toReversed().map(({ bytes }) => bytes));
  expect(Buffer.compare(serializeOnnx(parseOnnx(reversed, 'm.onnx')), plain)).toBe(0);
});

test.each([
  ['nothing', new Uint8Array(0), '0 graphs'],
  ['two graphs', Buffer.concat([plain, plain]), '2 graphs'],
  ['text', Buffer.from('version https://git-lfs.github.com/spec/v1\n'), 'not an ONNX model'],
  [
    'two initializers of one name',
    buildModel({
      nodes: [],
      inputs: {},
      outputs: [],
      initializers: ['w', 'w'].map((name) => floatTensor(name, 'F32', [1], new Float32Array(1))),
    }),
    'two initializers',
  ],
])('%s: malformed', (_, bytes, text) => {
  expect(errorOf(() => parseOnnx(bytes, 'm.onnx'), 'file-malformed').message).toContain(text);
});
