import { expect, test } from 'vitest';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { serializeOnnx } from '../../../src/formats/onnx/writer.js';
import { findLayers } from '../../../src/models/cnn/find-layers.js';
import { rewriteModel } from '../../../src/models/cnn/rewrite.js';
import { findStoredLayers } from '../../../src/models/cnn/stored-layers.js';
import { unpackConstants } from '../../../src/models/cnn/unpack-constants.js';
import { readLayerWeight } from '../../../src/models/cnn/weight-layout.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import '../../helpers.js';
import { fillRandom } from '../../helpers.js';
import { randomFactors, sparse } from './layers-fixture.js';

/** Two layers: a grouped convolution, and a product of a size that is no whole number of bytes of bits. */
const dense = (irVersion = 8) =>
  parseOnnx(
    buildModel({
      nodes: [
        { opType: 'Conv', name: 'c', input: ['x', 'w'], output: ['y'], attributes: { group: 2, strides: [2, 2] } },
        { opType: 'MatMul', name: 'm', input: ['y', 'v'], output: ['z'] },
      ],
      initializers: [
        floatTensor('w', 'F32', [64, 24, 3, 3], fillRandom(new Float32Array(64 * 216), 1)),
        floatTensor('v', 'F32', [31, 61], fillRandom(new Float32Array(31 * 61), 2)),
      ],
      inputs: { x: ['n', 48, 15, 15] },
      outputs: ['z'],
      irVersion,
    }),
    'model.onnx',
  );

/** The convolution as two factors with 32 inner channels a group, the product sparse; written and read again. */
function compressed(format: 'packed' | 'plain', irVersion?: number) {
  const model = dense(irVersion);
  const [conv, product] = findLayers(model).layers;
  const { weight } = randomFactors(conv!, 32);
  const single = sparse(readLayerWeight(model, product!), 0.8);
  const layers = new Map([
    [conv!, { weight }],
    [product!, { weight: { kind: 'dense', weight: single } as const }],
  ]);
  const rewritten = rewriteModel(model, { layers }, { format });
  return { ...rewritten, read: parseOnnx(serializeOnnx(rewritten.model), 'compressed.onnx') };
}

test.each([8, 3])('packed weights become the plain ones they were (representation %i)', (irVersion) => {
  const [packed, plain] = [compressed('packed', irVersion), compressed('plain', irVersion)];
  expect(packed.weights.map(({ format }) => format)).toEqual(['packed', 'packed', 'packed']);
  const { model, packedBytes } = unpackConstants(packed.read);
  expect([...packedBytes.keys()].sort()).toEqual(packed.weights.map(({ name }) => name).sort());
  for (const { name, bytes } of packed.weights) {
    // The rest are names and shapes.
    expect(packedBytes.get(name)).toBeLessThan(bytes);
    expect(packedBytes.get(name)).toBeGreaterThan(0.7 * bytes);
  }
  const [found, expected] = [findLayers(model).layers, findLayers(plain.read).layers];
  expect(found.map(({ name }) => name)).toEqual(expected.map(({ name }) => name));
  for (const [i, layer] of found.entries())
    expect(readLayerWeight(model, layer).data).toHaveSameBits(readLayerWeight(plain.read, expected[i]!).data);
});

test('the layers of a compressed model are those of the dense one', () => {
  for (const format of ['packed', 'plain'] as const) {
    const { read, weights } = compressed(format);
    const { layers, kept } = findStoredLayers(read);
    expect(kept).toEqual([]);
    expect(layers).toMatchObject([
      { name: 'c', kind: 'conv', rows: 64, columns: 216, groups: 2, parts: [{ part: 'B' }, { part: 'A' }] },
      { name: 'm', kind: 'matmul', rows: 61, columns: 31, groups: 1, parts: [{ part: 'W' }] },
    ]);
    const parts = layers.flatMap((layer) => layer.parts);
    expect(parts.map(({ shape, nonzeros }) => ({ shape, nonzeros }))).toEqual(
      weights.map(({ shape, nonzeros }) => ({ shape, nonzeros })),
    );
    expect(parts.every((part) => part.format === format)).toBe(true);
  }
  const [first] = findStoredLayers(dense()).layers;
  expect(first).toMatchObject({ name: 'c', parts: [{ part: 'W', nonzeros: 64 * 216, bytes: 4 * 64 * 216 }] });
});

test('what only looks packed is left alone', () => {
  const { read } = compressed('packed');
  const gathers = read.nodes.filter(({ message }) => message.opType === 'Gather');
  const name = gathers[0]!.message.input[0]!;
  const changed = (values: Float32Array) => {
    const initializers = new Map(read.initializers);
    initializers.set(name, { message: floatTensor(name, 'F32', [values.length], values), bytes: undefined });
    return unpackConstants(read.edited({ initializers })).packedBytes.size;
  };
  const values = read.readFloats(read.initializers.get(name)!.message);
  expect(changed(values)).toBe(3);
  expect(changed(values.subarray(1))).toBe(2);
  expect(changed(new Float32Array(values.length + 1))).toBe(2);
  // A bitmask that two weights share.
  const twice = [...read.nodes, ...read.nodes.filter(({ message }) => message.opType === 'BitShift')];
  expect(unpackConstants(read.edited({ nodes: twice })).packedBytes.size).toBe(0);
});
