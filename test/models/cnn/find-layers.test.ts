import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { makeNode, type NodeDescription } from '../../../src/formats/onnx/node.js';
import { AttributeProtoSchema, NodeProtoSchema } from '../../../src/formats/onnx/proto/onnx_pb.js';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor, rawTensor } from '../../../src/formats/onnx/tensor.js';
import { keptMultiplyAdds, layerMultiplyAdds } from '../../../src/models/cnn/counts.js';
import { findLayers } from '../../../src/models/cnn/find-layers.js';
import { readLayerWeight } from '../../../src/models/cnn/weight-layout.js';
import { errorOf } from '../../formats/expect-error.js';
import { buildGraph, buildModel, type ModelDescription } from '../../formats/onnx/build-model.js';

/** Values 0, 1, 2, … */
const counting = (name: string, shape: number[]) =>
  floatTensor(
    name,
    'F32',
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
  );

function find(description: Partial<ModelDescription>) {
  const bytes = buildModel({ nodes: [], inputs: { x: [1, 4, 8, 8] }, outputs: ['y'], ...description });
  const model = parseOnnx(bytes, 'm.onnx');
  return { model, ...findLayers(model) };
}

const conv: NodeDescription = { opType: 'Conv', name: 'c', input: ['x', 'w'], output: ['y'] };
const product: NodeDescription = { opType: 'MatMul', name: 'm', input: ['x', 'w'], output: ['y'] };

test('a convolution: matrix, geometry, names', () => {
  const attributes = { strides: [2, 1], pads: [0, 1, 2, 3], dilations: [1, 2], group: 2 };
  const { model, layers, kept } = find({
    nodes: [{ ...conv, input: ['x', 'w', 'b'], attributes }],
    initializers: [counting('w', [6, 2, 3, 1]), counting('b', [6])],
  });
  expect(kept).toEqual([]);
  expect(layers[0]).toMatchObject({
    name: 'c',
    kind: 'conv',
    rows: 6,
    columns: 6,
    groups: 2,
    transposed: false,
    weight: { name: 'w', type: 'F32', storedType: 'F32', shape: [6, 2, 3, 1] },
    uses: [
      {
        input: 'x',
        output: 'y',
        bias: { kind: 'constant', factor: 1 },
        batchNormalization: undefined,
        geometry: { kernel: [3, 1], strides: [2, 1], dilations: [1, 2], pads: [0, 1, 2, 3], autoPad: 'NOTSET' },
      },
    ],
  });
  expect([...readLayerWeight(model, layers[0]!).data]).toEqual(Array.from({ length: 36 }, (_, i) => i));
});

test('matrices are outputs x inputs, however they are stored', () => {
  const transB = { transB: 1 };
  const { model, layers } = find({
    nodes: [
      product,
      { opType: 'Gemm', input: ['y', 'v'], output: ['z'] },
      { opType: 'Gemm', input: ['z', 'u'], output: ['a'], attributes: transB },
    ],
    initializers: [counting('w', [2, 3]), counting('v', [3, 2]), counting('u', [3, 2])],
    inputs: { x: [5, 2] },
  });
  expect(layers.map(({ name, kind, rows, columns, transposed }) => [name, kind, rows, columns, transposed])).toEqual([
    ['m', 'matmul', 3, 2, true],
    ['z', 'gemm', 2, 3, true],
    ['a', 'gemm', 3, 2, false],
  ]);
  expect(layers.map((layer) => [...readLayerWeight(model, layer).data])).toEqual([
    [0, 3, 1, 4, 2, 5],
    [0, 2, 4, 1, 3, 5],
    [0, 1, 2, 3, 4, 5],
  ]);
});

test('weights in Constant nodes, behind Identity and Cast', () => {
  const half = floatTensor(
    '',
    'F16',
    [3, 4, 1, 1],
    Float32Array.from({ length: 12 }, (_, i) => i),
  );
  const { model, layers, kept } = find({
    nodes: [
      { opType: 'Constant', input: [], output: ['h'], attributes: { value: half } },
      { opType: 'Identity', input: ['h'], output: ['i'] },
      { opType: 'Cast', input: ['i'], output: ['w'], attributes: { to: 1 } },
      conv,
    ],
  });
  expect(kept).toEqual([]);
  expect(layers[0]!.weight).toMatchObject({ name: 'h', type: 'F32', storedType: 'F16' });
  expect([...readLayerWeight(model, layers[0]!).data]).toEqual(Array.from({ length: 12 }, (_, i) => i));
});

test('nodes of one name are told apart by what they make', () => {
  const { layers } = find({
    nodes: [conv, { ...conv, input: ['x', 'v'], output: ['z'] }],
    initializers: [counting('w', [3, 4, 1, 1]), counting('v', [3, 4, 1, 1])],
  });
  expect(layers.map(({ name }) => name)).toEqual(['c', 'z']);
});

const graphAttribute = (nodes: NodeDescription[]) =>
  create(AttributeProtoSchema, { name: 'then_branch', type: 5, g: buildGraph({ nodes, inputs: {}, outputs: ['s'] }) });
const w = counting('w', [3, 4, 1, 1]);
const kept: [string, Partial<ModelDescription>, number, string][] = [
  [
    'a weight that is an input',
    { nodes: [conv], inputs: { x: [1, 4, 8, 8], w: [3, 4, 1, 1] } },
    0,
    'is an input of the graph',
  ],
  [
    'an initializer that callers may replace',
    { nodes: [conv], initializers: [w], inputs: { x: [1, 4, 8, 8], w: [3, 4, 1, 1] } },
    0,
    'callers may replace',
  ],
  [
    'a weight that is computed',
    {
      nodes: [
        { opType: 'Neg', input: ['w'], output: ['n'] },
        { ...conv, input: ['x', 'n'] },
      ],
      initializers: [w],
    },
    0,
    'computed by Neg',
  ],
  [
    'a weight that is quantised',
    {
      nodes: [
        { opType: 'DequantizeLinear', input: ['q', 's'], output: ['n'] },
        { ...conv, input: ['x', 'n'] },
      ],
      initializers: [rawTensor('q', 3, [3, 4, 1, 1], new Uint8Array(12)), counting('s', [])],
    },
    0,
    'quantised',
  ],
  [
    'a weight of integers',
    { nodes: [{ ...product, input: ['x', 'q'] }], initializers: [rawTensor('q', 3, [3, 4], new Uint8Array(12))] },
    0,
    'stored as INT8',
  ],
  ['a weight that is missing', { nodes: [conv] }, 0, 'is not in the graph'],
  ['a 3-D convolution', { nodes: [conv], initializers: [counting('w', [3, 4, 1, 1, 2])] }, 24, '3-D'],
  [
    'a depthwise convolution',
    { nodes: [{ ...conv, attributes: { group: 4 } }], initializers: [counting('w', [4, 1, 3, 3])] },
    36,
    'depthwise',
  ],
  ['one output', { nodes: [conv], initializers: [counting('w', [1, 4, 3, 3])] }, 36, '1 x 36'],
  ['no weights at all', { nodes: [conv], initializers: [counting('w', [3, 0, 3, 3])] }, 0, 'has no two factors'],
  [
    'groups that do not divide',
    { nodes: [{ ...conv, attributes: { group: 2 } }], initializers: [w] },
    12,
    '3 outputs are not 2 groups',
  ],
  ['no groups', { nodes: [{ ...conv, attributes: { group: 0 } }], initializers: [w] }, 12, 'not 0 groups'],
  [
    'strides that do not fit',
    { nodes: [{ ...conv, attributes: { strides: [1, 0] } }], initializers: [w] },
    12,
    'do not fit',
  ],
  [
    'another kernel than the weight',
    { nodes: [{ ...conv, attributes: { kernel_shape: [3, 3] } }], initializers: [w] },
    12,
    'do not fit',
  ],
  [
    'an auto_pad that is none',
    { nodes: [{ ...conv, attributes: { auto_pad: 'SOME' } }], initializers: [w] },
    12,
    'auto_pad SOME',
  ],
  [
    'a transposed convolution',
    { nodes: [{ ...conv, opType: 'ConvTranspose' }], initializers: [w] },
    12,
    'transposed convolutions',
  ],
  [
    'a table',
    { nodes: [{ opType: 'Gather', input: ['t', 'x'], output: ['y'] }], initializers: [counting('t', [10, 4])] },
    40,
    'Gather is not rewritten',
  ],
  [
    'an operator of another domain',
    {
      nodes: [
        create(NodeProtoSchema, { opType: 'FusedMatMul', domain: 'com.microsoft', input: ['x', 'w'], output: ['y'] }),
      ],
      initializers: [counting('w', [4, 4])],
    },
    16,
    'FusedMatMul',
  ],
  [
    'the weight on the left',
    { nodes: [{ ...product, input: ['w', 'x'] }], initializers: [counting('w', [4, 4])] },
    16,
    'left operand',
  ],
  ['a stack of matrices', { nodes: [product], initializers: [counting('w', [2, 4, 4])] }, 32, '3 dimensions'],
  [
    'a constant input',
    { nodes: [{ ...product, input: ['v', 'w'] }], initializers: [counting('v', [4, 4]), counting('w', [4, 4])] },
    16,
    'its input is constant',
  ],
  [
    'a weight that is an output too',
    { nodes: [conv], initializers: [w], outputs: ['y', 'w'] },
    12,
    'output of the graph',
  ],
  [
    'a weight that another operator reads',
    { nodes: [conv, { opType: 'Neg', name: 'n', input: ['w'], output: ['z'] }], initializers: [w] },
    12,
    'read by n (Neg) too',
  ],
  [
    'a weight that a subgraph reads',
    {
      nodes: [
        conv,
        {
          opType: 'If',
          input: ['x'],
          output: ['z'],
          attributes: [graphAttribute([{ opType: 'Neg', input: ['w'], output: ['s'] }])],
        },
      ],
      initializers: [w],
    },
    12,
    'inside of a subgraph',
  ],
  [
    'a layer in a subgraph',
    { nodes: [{ opType: 'If', name: 'if', input: ['x'], output: ['y'], attributes: [graphAttribute([conv])] }] },
    0,
    'inside of a subgraph of if',
  ],
  ['a Conv without a weight', { nodes: [{ ...conv, input: ['x'] }] }, 0, 'inputs and outputs'],
];

test.each(kept)('%s: kept, with the reason', (_, description, parameters, reason) => {
  const found = find(description);
  expect(found.layers).toEqual([]);
  expect(found.kept).toHaveLength(1);
  expect(found.kept[0]).toMatchObject({ parameters, reason: expect.stringContaining(reason) });
});

test('nodes that use one weight differently are both kept', () => {
  const { layers, kept: both } = find({
    nodes: [product, { opType: 'Gemm', name: 'g', input: ['y', 'w'], output: ['z'] }],
    initializers: [counting('w', [4, 4])],
  });
  expect(layers).toEqual([]);
  expect(both.map(({ reason }) => reason)).toEqual(
    Array(2).fill('it shares its weight with g, which uses it differently'),
  );
});

test('nodes that scale one weight differently are both kept, those that scale their bias differently are one layer', () => {
  const gemm = (name: string, input: string, scale: Readonly<Record<string, number>>) =>
    makeNode({
      opType: 'Gemm',
      name,
      input: [input, 'w', 'b'],
      output: [`${name}.out`],
      attributes: Object.entries(scale).map(([key, f]) => create(AttributeProtoSchema, { name: key, type: 1, f })),
    });
  const initializers = [counting('w', [4, 4]), counting('b', [4])];
  const scaled = find({ nodes: [gemm('f', 'x', {}), gemm('g', 'f.out', { alpha: 3 })], initializers });
  expect(scaled.layers).toEqual([]);
  expect(scaled.kept).toHaveLength(2);
  const biased = find({ nodes: [gemm('f', 'x', {}), gemm('g', 'f.out', { alpha: 1, beta: 3 })], initializers });
  expect(biased.layers.map(({ uses }) => uses.length)).toEqual([2]);
});

test('products of activations, vectors and constants of other operators are nothing to report', () => {
  const found = find({
    nodes: [
      { ...product, input: ['x', 'x'] },
      { opType: 'Mul', input: ['y', 'v'], output: ['z'] },
      { opType: 'Transpose', input: ['t'], output: ['u'] },
    ],
    initializers: [counting('v', [1, 4, 1, 1]), counting('t', [4, 4])],
  });
  expect([found.layers, found.kept]).toEqual([[], []]);
});

test('operator sets that nothing runs are refused', () => {
  expect(errorOf(() => find({ opset: 6 }), 'file-unsupported').message).toContain('version 6');
});

test('damaged graphs with cycles and long chains end', () => {
  const chain = Array.from({ length: 200 }, (_, i) => ({
    opType: 'Identity',
    input: [`t${i}`],
    output: [`t${i + 1}`],
  }));
  const found = find({
    nodes: [
      ...chain,
      { opType: 'Identity', input: ['p'], output: ['q'] },
      { opType: 'Identity', input: ['q'], output: ['p'] },
      { ...conv, input: ['x', 'p'] },
      { ...conv, input: ['x', 't200'] },
    ],
    initializers: [counting('t0', [3, 4, 1, 1])],
  });
  expect(found.kept.map(({ reason }) => reason)).toEqual(Array(2).fill('its weight stands behind too many nodes'));
});

test('multiply-adds are counted from output shapes', () => {
  const found = find({
    nodes: [
      { ...conv, attributes: { group: 2 } },
      { ...conv, input: ['y', 'd'], output: ['z'], attributes: { group: 6 } },
      { ...product, input: ['z', 'p'], output: ['a'] },
    ],
    initializers: [counting('w', [6, 2, 3, 3]), counting('d', [6, 1, 3, 3]), counting('p', [8, 5])],
  });
  const shapes = new Map([
    ['y', [2, 6, 10, 8]],
    ['z', [2, 6, 8, 6]],
    ['a', [2, 6, 8, 5]],
  ]);
  const [convolution, linear] = found.layers;
  expect(layerMultiplyAdds(convolution!, 6 * 18, shapes)).toBe(2 * 80 * 108);
  expect(layerMultiplyAdds(linear!, 20, shapes)).toBe(2 * 6 * 8 * 20);
  expect(keptMultiplyAdds(found.kept[0]!, shapes)).toBe(2 * 48 * 54);
  errorOf(() => layerMultiplyAdds(convolution!, 1, new Map()), 'unknown-name');
  errorOf(() => layerMultiplyAdds(convolution!, 1, new Map([['y', [5]]])), 'shape-mismatch');
  const table = find({
    nodes: [{ opType: 'Gather', input: ['t', 'x'], output: ['y'] }],
    initializers: [counting('t', [10, 4])],
  });
  expect(keptMultiplyAdds(table.kept[0]!, shapes)).toBeUndefined();
});
