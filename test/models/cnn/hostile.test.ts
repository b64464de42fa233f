import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { serializeOnnx } from '../../../src/formats/onnx/writer.js';
import { readBias } from '../../../src/models/cnn/bias.js';
import { findLayers } from '../../../src/models/cnn/find-layers.js';
import { rewriteModel } from '../../../src/models/cnn/rewrite.js';
import { findStoredLayers } from '../../../src/models/cnn/stored-layers.js';
import { readLayerWeight } from '../../../src/models/cnn/weight-layout.js';
import { onlyTypedErrors, withBoundedMemory } from '../../formats/expect-error.js';
import { mutationsOf } from '../../formats/mutations.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import { identityTimesWeight } from './layers-fixture.js';

const vector = (name: string, length: number) => floatTensor(name, 'F32', [length], new Float32Array(length).fill(1));
const valid = buildModel({
  nodes: [
    {
      opType: 'Constant',
      input: [],
      output: ['v'],
      attributes: { value: floatTensor('', 'F16', [3, 2, 3, 3], new Float32Array(54)) },
    },
    { opType: 'Cast', input: ['v'], output: ['w'], attributes: { to: 1 } },
    {
      opType: 'Conv',
      name: 'c',
      input: ['x', 'w', 'b'],
      output: ['y'],
      attributes: { strides: [2, 1], pads: [1, 1, 1, 1], group: 1 },
    },
    { opType: 'BatchNormalization', name: 'n', input: ['y', 'b', 'b', 'b', 'b'], output: ['z'] },
    { opType: 'MatMul', name: 'm', input: ['z', 'p'], output: ['q'] },
    { opType: 'Add', input: ['q', 'a'], output: ['r'] },
    { opType: 'Gemm', name: 'g', input: ['r', 'p', 'a'], output: ['s'], attributes: { transB: 1 } },
  ],
  initializers: [vector('b', 3), vector('a', 4), floatTensor('p', 'F32', [5, 4], new Float32Array(20))],
  inputs: { x: [1, 2, 'h', 'w'] },
  outputs: ['s'],
});

/** All that is done with a model from elsewhere. */
function rewriteAll(bytes: Uint8Array): void {
  const model = parseOnnx(bytes, 'hostile.onnx');
  for (const layer of findLayers(model).layers) {
    for (const use of layer.uses) onlyTypedErrors(() => readBias(model, use, layer.rows));
    onlyTypedErrors(() => {
      const weight = identityTimesWeight(layer, readLayerWeight(model, layer));
      const biases = [new Float32Array(layer.rows)];
      serializeOnnx(rewriteModel(model, { layers: new Map([[layer, { weight, biases }]]) }).model);
    });
  }
}

test('the model that is damaged below is valid', () => rewriteAll(valid));

/** A packed weight and what unpacks it. */
const packed = (() => {
  const weight = Float32Array.from({ length: 30 * 50 }, (_, i) => (i % 3 === 0 ? i + 1 : 0));
  const model = parseOnnx(
    buildModel({
      nodes: [{ opType: 'MatMul', name: 'm', input: ['x', 'w'], output: ['y'] }],
      initializers: [floatTensor('w', 'F32', [30, 50], weight)],
      inputs: { x: [1, 30] },
      outputs: ['y'],
    }),
    'hostile.onnx',
  );
  const [layer] = findLayers(model).layers;
  const layers = new Map([[layer!, { weight: { kind: 'dense', weight: readLayerWeight(model, layer!) } as const }]]);
  return serializeOnnx(rewriteModel(model, { layers }).model);
})();

test('damaged packed weights: only typed errors, and little memory', { timeout: 60_000 }, () => {
  const inspect = (bytes: Uint8Array) => findStoredLayers(parseOnnx(bytes, 'hostile.onnx')).layers;
  expect(inspect(packed)).toMatchObject([{ name: 'm', parts: [{ format: 'packed', nonzeros: 500 }] }]);
  withBoundedMemory(() => {
    fc.assert(
      fc.property(mutationsOf(packed), (damaged) => onlyTypedErrors(() => inspect(damaged))),
      { numRuns: 3000 },
    );
  });
});

test('damaged anyhow, there are only typed errors and little memory is taken', { timeout: 60_000 }, () => {
  withBoundedMemory(() => {
    fc.assert(
      fc.property(mutationsOf(valid), (damaged) => onlyTypedErrors(() => rewriteAll(damaged))),
      { numRuns: 3000 },
    );
  });
});
