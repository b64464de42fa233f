import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import type { FloatType } from '../../../src/formats/dtype.js';
import type { OnnxModel } from '../../../src/formats/onnx/model.js';
import type { NodeDescription } from '../../../src/formats/onnx/node.js';
import { AttributeProtoSchema } from '../../../src/formats/onnx/proto/onnx_pb.js';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { readBias } from '../../../src/models/cnn/bias.js';
import { findLayers } from '../../../src/models/cnn/find-layers.js';
import { type LayerReplacement, rewriteModel } from '../../../src/models/cnn/rewrite.js';
import { readLayerWeight } from '../../../src/models/cnn/weight-layout.js';
import { errorOf } from '../../formats/expect-error.js';
import { buildModel, type ModelDescription } from '../../formats/onnx/build-model.js';
import { fillRandom } from '../../helpers.js';
import { identityTimesWeight, randomFactors, weightTimesIdentity } from './layers-fixture.js';
import { runOnnx } from './run-onnx.js';

const random = (name: string, shape: number[], type: FloatType = 'F32', seed = 11) =>
  floatTensor(name, type, shape, fillRandom(new Float32Array(shape.reduce((a, b) => a * b, 1)), seed));

interface Case extends Partial<ModelDescription> {
  readonly node: Partial<NodeDescription> & { opType: string };
  readonly weight: number[];
  readonly x: number[];
  readonly bias?: number[];
}

/** A model of one layer. */
function oneLayer({ node, weight, x, bias, opset, irVersion, initializers, nodes = [] }: Case): OnnxModel {
  const input = ['x', 'w', ...(bias ? ['b'] : [])];
  return parseOnnx(
    buildModel({
      nodes: [{ name: 'layer', input, output: ['y'], ...node }, ...nodes],
      initializers: initializers ?? [random('w', weight), ...(bias ? [random('b', bias, 'F32', 12)] : [])],
      inputs: {
        x,
        ...(irVersion !== undefined && irVersion < 4 && { w: weight, ...(bias && { b: bias }) }),
      },
      outputs: nodes.length > 0 ? ['z'] : ['y'],
      ...(opset && { opset }),
      ...(irVersion && { irVersion }),
    }),
    'one-layer.onnx',
  );
}

const onlyLayer = (model: OnnxModel) => {
  const { layers, kept } = findLayers(model);
  expect(kept).toEqual([]);
  expect(layers).toHaveLength(1);
  return layers[0]!;
};
const replaced = (model: OnnxModel, replacement: LayerReplacement, options = {}) =>
  rewriteModel(model, { layers: new Map([[onlyLayer(model), replacement]]) }, options).model;
const output = async (model: OnnxModel, x: number[], options = {}) =>
  Object.values(await runOnnx(model, { x }, options))[0]!;

const makeFloat = (name: string, f: number) => create(AttributeProtoSchema, { name, type: 1, f });
const conv = (attributes: Record<string, number | number[] | string>) => ({ opType: 'Conv', attributes });
const gemm = (attributes: Record<string, number>) => ({ opType: 'Gemm', attributes });
const cases: [string, Case][] = [
  ['a convolution without attributes', { node: conv({}), weight: [8, 3, 3, 3], x: [2, 3, 9, 7] }],
  [
    'strides, uneven pads, dilations',
    {
      node: conv({ strides: [2, 1], pads: [1, 0, 2, 3], dilations: [2, 1], kernel_shape: [3, 3] }),
      weight: [8, 3, 3, 3],
      bias: [8],
      x: [2, 3, 12, 9],
    },
  ],
  [
    'auto_pad SAME_UPPER',
    { node: conv({ auto_pad: 'SAME_UPPER', strides: [2, 2] }), weight: [8, 3, 3, 2], bias: [8], x: [1, 3, 9, 10] },
  ],
  [
    'auto_pad SAME_LOWER',
    { node: conv({ auto_pad: 'SAME_LOWER', strides: [2, 2] }), weight: [8, 3, 4, 3], x: [1, 3, 9, 10] },
  ],
  ['auto_pad VALID', { node: conv({ auto_pad: 'VALID', strides: [3, 1] }), weight: [8, 3, 3, 3], x: [1, 3, 9, 10] }],
  [
    'an expanding 1 x 1 convolution',
    { node: conv({ strides: [2, 2] }), weight: [12, 4, 1, 1], bias: [12], x: [1, 4, 8, 8] },
  ],
  ['groups', { node: conv({ group: 3, pads: [1, 1, 1, 1] }), weight: [12, 2, 3, 3], bias: [12], x: [2, 6, 7, 7] }],
  [
    'a 1-D convolution in groups',
    {
      node: conv({ group: 2, strides: [2], pads: [2, 1], dilations: [2] }),
      weight: [6, 4, 3],
      bias: [6],
      x: [2, 8, 15],
    },
  ],
  ['opset 9', { node: conv({ pads: [1, 1, 1, 1] }), weight: [8, 3, 3, 3], bias: [8], x: [1, 3, 8, 8], opset: 9 }],
  [
    'a model of version 3, whose initializers are inputs',
    { node: conv({}), weight: [8, 3, 3, 3], bias: [8], x: [1, 3, 8, 8], opset: 8, irVersion: 3 },
  ],
  ['a matrix product', { node: { opType: 'MatMul' }, weight: [6, 9], x: [5, 6] }],
  ['a product of a vector', { node: { opType: 'MatMul' }, weight: [6, 9], x: [6] }],
  ['a product of four dimensions', { node: { opType: 'MatMul' }, weight: [6, 9], x: [2, 3, 4, 6] }],
  ['Gemm', { node: gemm({}), weight: [6, 9], bias: [9], x: [5, 6] }],
  ['Gemm without bias', { node: gemm({ transB: 1 }), weight: [9, 6], x: [5, 6] }],
  ['Gemm with a bias a row', { node: gemm({ transB: 1 }), weight: [9, 6], bias: [5, 1], x: [5, 6] }],
  ['Gemm with both transposes', { node: gemm({ transA: 1, transB: 1 }), weight: [9, 6], bias: [1, 9], x: [6, 5] }],
  ['Gemm of opset 9', { node: gemm({ transA: 1 }), weight: [6, 9], bias: [9], x: [6, 5], opset: 9 }],
];

test.each(cases)('%s: two exact factors leave the output', async (_, each) => {
  const model = oneLayer(each);
  const layer = onlyLayer(model);
  const weight = readLayerWeight(model, layer);
  const expected = await output(model, each.x);
  for (const make of [identityTimesWeight, weightTimesIdentity]) {
    for (const format of ['plain', 'packed'] as const) {
      const { values, shape } = await output(replaced(model, { weight: make(layer, weight) }, { format }), each.x);
      expect(shape).toEqual(expected.shape);
      // Sums of at most 54 products of numbers below 1, in another order.
      expect(values).toBeAllclose(expected.values, { atol: 1e-5 });
    }
  }
});

test.each(cases)('%s: two sparse factors act as their product, and a new bias as it is', async (_, each) => {
  const model = oneLayer(each);
  const layer = onlyLayer(model);
  const { weight, product } = randomFactors(layer, 4);
  const bias = each.bias?.[1] === 1 ? undefined : fillRandom(new Float32Array(layer.rows), 21);
  const asTwo = await output(replaced(model, { weight, biases: [bias] }), each.x);
  const asOne = await output(replaced(model, { weight: { kind: 'dense', weight: product }, biases: [bias] }), each.x);
  expect(asTwo.shape).toEqual(asOne.shape);
  expect(asTwo.values).toBeAllclose(asOne.values, { atol: 1e-5, rtol: 1e-5 });
  if (!bias) return;
  // A weight of zeros leaves the bias alone.
  const zero = { kind: 'dense', weight: { ...product, data: new Float32Array(product.data.length) } } as const;
  const { values, shape } = await output(replaced(model, { weight: zero, biases: [bias] }), each.x);
  const channelStride = layer.kind === 'conv' ? shape.slice(2).reduce((a, b) => a * b, 1) : 1;
  expect(values).toBeAllclose(values.map((__, i) => bias[Math.floor(i / channelStride) % layer.rows]!));
});

test('alpha and beta of Gemm act as before, and not on a new bias', async () => {
  const factors = [makeFloat('alpha', 0.5), makeFloat('beta', 3)];
  const model = oneLayer({ node: { opType: 'Gemm', attributes: factors }, weight: [6, 9], bias: [9], x: [5, 6] });
  const layer = onlyLayer(model);
  const { weight, product } = randomFactors(layer, 4);
  const asTwo = await output(replaced(model, { weight }), [5, 6]);
  const asOne = await output(replaced(model, { weight: { kind: 'dense', weight: product } }), [5, 6]);
  expect(asTwo.values).toBeAllclose(asOne.values, { atol: 1e-5 });
  const bias = readBias(model, layer.uses[0]!, 9)!;
  expect(bias).toHaveSameBits(fillRandom(new Float32Array(9), 12).map((value) => 3 * value));
  const same = await output(replaced(model, { biases: [bias] }), [5, 6]);
  expect(same.values).toBeAllclose((await output(model, [5, 6])).values, { atol: 1e-6 });
});

test('names are readable, and unique beside names that are taken', () => {
  const model = oneLayer({
    node: { opType: 'MatMul' },
    weight: [6, 9],
    x: [5, 6],
    nodes: [
      { opType: 'Relu', name: 'layer/A', input: ['y'], output: ['layer/B.weight'] },
      { opType: 'Neg', input: ['layer/B.weight'], output: ['z'] },
    ],
  });
  const layer = onlyLayer(model);
  const rewritten = replaced(model, { weight: randomFactors(layer, 4).weight }, { format: 'plain' });
  expect(rewritten.nodes.map(({ message: { name, input, output: made } }) => [name, input, made])).toEqual([
    ['layer/B', ['x', 'layer/B.weight.2'], ['layer/B.output']],
    ['layer/A.2', ['layer/B.output', 'layer/A.weight'], ['y']],
    ['layer/A', ['y'], ['layer/B.weight']],
    ['', ['layer/B.weight'], ['z']],
  ]);
  expect([...rewritten.initializers.keys()]).toEqual(['layer/B.weight.2', 'layer/A.weight']);
});

test('nodes that are not rewritten keep their bytes', () => {
  const model = oneLayer({
    node: conv({}),
    weight: [8, 3, 3, 3],
    x: [1, 3, 8, 8],
    nodes: [{ opType: 'Relu', input: ['y'], output: ['z'] }],
  });
  const layer = onlyLayer(model);
  const { nodes } = replaced(model, { weight: randomFactors(layer, 4).weight });
  expect(nodes.at(-1)).toBe(model.nodes.at(-1));
});

test('what does not fit is refused', () => {
  const model = oneLayer({ node: conv({ group: 2 }), weight: [8, 3, 3, 3], x: [1, 6, 8, 8] });
  const layer = onlyLayer(model);
  const { weight } = randomFactors(layer, 4);
  if (weight.kind !== 'factors') throw new Error('two factors');
  const wrong = (replacement: LayerReplacement) =>
    errorOf(() => replaced(model, replacement), 'shape-mismatch').message;
  expect(wrong({ weight: { ...weight, b: { ...weight.b, rows: 4, data: weight.b.data.subarray(4 * 27) } } })).toContain(
    'B of layer',
  );
  expect(wrong({ weight: { kind: 'dense', weight: weight.a } })).toContain('W of layer is 8x4');
  expect(wrong({ biases: [new Float32Array(3)] })).toContain('3 values, not 8');
  const perRow = oneLayer({ node: gemm({}), weight: [6, 9], bias: [5, 1], x: [5, 6] });
  errorOf(() => replaced(perRow, { biases: [new Float32Array(9)] }), 'option-out-of-range');
  const large = { ...weight, a: { ...weight.a, data: weight.a.data.map(() => 1e6) } };
  const half = parseOnnx(
    buildModel({
      nodes: [
        { opType: 'Cast', input: ['v'], output: ['v32'], attributes: { to: 1 } },
        { ...conv({ group: 2 }), name: 'layer', input: ['x', 'v32'], output: ['y'] },
      ],
      initializers: [random('v', [8, 3, 3, 3], 'F16')],
      inputs: { x: [1, 6, 8, 8] },
      outputs: ['y'],
    }),
    'half.onnx',
  );
  errorOf(() => replaced(half, { weight: large }), 'non-finite-value');
});

test('a weight that two nodes share is stored once', async () => {
  const node = (name: string, strides: number[], from: string, to: string) => ({
    ...conv({ strides }),
    name,
    input: [from, 'w'],
    output: [to],
  });
  const model = parseOnnx(
    buildModel({
      nodes: [
        { opType: 'Identity', input: ['w'], output: ['same'] },
        node('one', [1, 1], 'x', 'y'),
        { ...node('two', [2, 2], 'x', 'z'), input: ['x', 'same'] },
      ],
      initializers: [random('w', [8, 3, 3, 3])],
      inputs: { x: [1, 3, 9, 9] },
      outputs: ['y', 'z'],
    }),
    'shared.onnx',
  );
  const layer = onlyLayer(model);
  expect(layer.uses.map(({ name, geometry }) => [name, geometry?.strides])).toEqual([
    ['one', [1, 1]],
    ['two', [2, 2]],
  ]);
  const rewritten = replaced(
    model,
    { weight: identityTimesWeight(layer, readLayerWeight(model, layer)) },
    { format: 'plain' },
  );
  expect([...rewritten.initializers.keys()]).toEqual(['one/B.weight', 'one/A.weight']);
  expect(rewritten.nodes.map(({ message }) => message.name)).toEqual(['one/B', 'one/A', 'two/B', 'two/A']);
  const [before, after] = [await runOnnx(model, { x: [1, 3, 9, 9] }), await runOnnx(rewritten, { x: [1, 3, 9, 9] })];
  for (const name of ['y', 'z']) expect(after[name]!.values).toBeAllclose(before[name]!.values, { atol: 1e-5 });
});

test('fp16 stays fp16, behind a Cast too', async () => {
  const description = {
    nodes: [
      { ...conv({}), name: 'half', input: ['x', 'w', 'b'], output: ['y'] },
      { opType: 'Cast', input: ['v'], output: ['v32'], attributes: { to: 1 } },
      { opType: 'Cast', input: ['y'], output: ['y32'], attributes: { to: 1 } },
      { ...conv({}), name: 'cast', input: ['y32', 'v32'], output: ['z'] },
    ],
    initializers: [random('w', [8, 3, 3, 3], 'F16'), random('b', [8], 'F16'), random('v', [6, 8, 1, 1], 'F16')],
    inputs: { x: [1, 3, 8, 8] },
    outputs: ['z'],
    elementType: 'half',
  } as const;
  const model = parseOnnx(buildModel(description), 'half.onnx');
  const { layers } = findLayers(model);
  expect(layers.map(({ weight }) => [weight.storedType, weight.type])).toEqual([
    ['F16', 'F16'],
    ['F16', 'F32'],
  ]);
  const expected = await output(model, [1, 3, 8, 8], { half: true });
  for (const format of ['plain', 'packed'] as const) {
    const replacements = layers.map(
      (layer) => [layer, { weight: identityTimesWeight(layer, readLayerWeight(model, layer)) }] as const,
    );
    const { model: rewritten, weights } = rewriteModel(model, { layers: new Map(replacements) }, { format });
    expect(weights.map(({ type }) => type)).toEqual(['F16', 'F16', 'F16', 'F16']);
    for (const { message } of rewritten.initializers.values()) expect(message.dataType, message.name).not.toBe(1);
    const { values } = await output(rewritten, [1, 3, 8, 8], { half: true });
    // The tensor between the factors is rounded to fp16 once more: half a unit of 2^-10 of sums up to 8.
    expect(values).toBeAllclose(expected.values, { atol: 0.03 });
  }
});

test('the bias behind a matrix product is changed in place, and one is added where there was none', async () => {
  const withAdd = oneLayer({
    node: { opType: 'MatMul' },
    weight: [6, 9],
    x: [2, 5, 6],
    initializers: [random('w', [6, 9]), random('b', [1, 9])],
    nodes: [{ opType: 'Add', name: 'add', input: ['b', 'y'], output: ['z'] }],
  });
  const layer = onlyLayer(withAdd);
  const bias = fillRandom(new Float32Array(9), 31);
  expect(readBias(withAdd, layer.uses[0]!, 9)).toHaveSameBits(fillRandom(new Float32Array(9), 11));
  const changed = replaced(withAdd, { biases: [bias] });
  expect(changed.nodes).toHaveLength(2);
  expect([...changed.initializers.keys()]).toEqual(['w', 'layer/bias']);
  const without = oneLayer({ node: { opType: 'MatMul' }, weight: [6, 9], x: [2, 5, 6] });
  expect(readBias(without, onlyLayer(without).uses[0]!, 9)).toBeUndefined();
  const added = replaced(without, { biases: [bias] });
  expect(added.nodes.map(({ message }) => message.name)).toEqual(['layer', 'layer/Add']);
  expect((await output(added, [2, 5, 6])).values).toBeAllclose((await output(changed, [2, 5, 6])).values, {
    atol: 1e-6,
  });
});

test('a BatchNormalization behind a layer is found and changed', async () => {
  const parameters = ['scale', 'shift', 'mean', 'variance'] as const;
  const model = parseOnnx(
    buildModel({
      nodes: [
        { ...conv({}), name: 'layer', input: ['x', 'w'], output: ['c'] },
        { opType: 'Identity', input: ['scale'], output: ['scale2'] },
        { opType: 'BatchNormalization', name: 'bn', input: ['c', 'scale', 'shift', 'mean', 'variance'], output: ['r'] },
        { opType: 'Relu', input: ['r'], output: ['q'] },
        {
          opType: 'BatchNormalization',
          name: 'other',
          input: ['q', 'scale2', 'shift', 'mean', 'variance'],
          output: ['y'],
        },
      ],
      initializers: [
        random('w', [4, 3, 3, 3]),
        ...parameters.map((name) => floatTensor(name, 'F32', [4], Float32Array.of(1, 2, 3, 4))),
      ],
      inputs: { x: [1, 3, 8, 8] },
      outputs: ['r', 'y'],
    }),
    'bn.onnx',
  );
  const layer = onlyLayer(model);
  const found = layer.uses[0]!.batchNormalization!;
  expect(found.name).toBe('bn');
  expect(found.scale.name).toBe('scale');
  const scale = Float32Array.of(0, 0, 0, 0);
  const shift = Float32Array.of(-1, 5, 6, 7);
  const { model: changed } = rewriteModel(model, { batchNormalizations: new Map([[found, { scale, shift }]]) });
  const results = await runOnnx(changed, { x: [1, 3, 8, 8] });
  expect(results.r!.values).toBeAllclose(results.r!.values.map((_, i) => shift[Math.floor(i / 36)]!));
  // The other one shares the parameters, and keeps the old ones.
  expect(changed.initializers.has('scale')).toBe(true);
  const wrong = new Map([[found, { shift: new Float32Array(3) }]]);
  errorOf(() => rewriteModel(model, { batchNormalizations: wrong }), 'shape-mismatch');
});
