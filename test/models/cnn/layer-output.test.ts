import { describe, expect, test } from 'vitest';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { findLayers } from '../../../src/models/cnn/find-layers.js';
import { indexGraph } from '../../../src/models/cnn/graph-index.js';
import { layerOutput } from '../../../src/models/cnn/layer-output.js';
import { partialModel } from '../../../src/models/cnn/partial-model.js';
import { readLayerWeight } from '../../../src/models/cnn/weight-layout.js';
import { imageSide, type ResidualDescription, residualModel } from '../../compression/cnn/residual-fixture.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import { fillRandom } from '../../helpers.js';
import { runOnnx } from './run-onnx.js';

function outputsOf(bytes: Uint8Array, foldNormalization: boolean) {
  const model = parseOnnx(bytes, 'model.onnx');
  const index = indexGraph(model);
  const { layers } = findLayers(model);
  const outputs = layers.map((layer) => layerOutput(model, index, layer, layer.uses[0]!, foldNormalization));
  return { model, layers, outputs };
}

describe.each<[string, ResidualDescription, boolean]>([
  ['normalisation counted in', {}, true],
  ['normalisation left out', {}, false],
  ['no normalisation', { folded: true }, true],
])('%s', (_, description, fold) => {
  const { model, outputs } = outputsOf(residualModel(description), fold);

  test('outputs are gain (W x) + offset', async () => {
    // Without its bias a convolution makes W x.
    const products = outputs.slice(0, 3).map(({ use }) => use.output);
    const results = await runOnnx(model.withOutputs([...products, ...outputs.map(({ name }) => name)]), {
      x: [2, 1, imageSide, imageSide],
    });
    for (const [i, { name, gain, offset, use }] of outputs.slice(0, 3).entries()) {
      const { values } = results[products[i]!]!;
      const bias = use.bias.kind === 'constant' ? model.readFloats(use.bias.constant.tensor) : undefined;
      const plane = imageSide ** 2;
      const expected = values.map((value, at) => {
        const c = Math.floor(at / plane) % gain.length;
        return gain[c]! * (value - (bias?.[c] ?? 0)) + offset[c]!;
      });
      expect(results[name]!.values).toBeAllclose(expected, { rtol: 1e-4, atol: 1e-5 });
    }
  });

  test('the output that a shortcut is added to knows the sum and the shortcut', () => {
    expect(outputs.map(({ sum }) => sum)).toEqual(
      fold
        ? [undefined, undefined, { name: 'c', other: 'a' }, undefined]
        : [undefined, undefined, undefined, undefined],
    );
  });
});

test('alpha and transA of Gemm', async () => {
  const weight = fillRandom(new Float32Array(6), 1);
  const bytes = buildModel({
    nodes: [{ opType: 'Gemm', input: ['x', 'w'], output: ['y'], attributes: { transA: 1 } }],
    initializers: [floatTensor('w', 'F32', [2, 3], weight)],
    inputs: { x: [2, 4] },
    outputs: ['y'],
  });
  const { model, layers, outputs } = outputsOf(bytes, true);
  expect(outputs[0]).toMatchObject({ transposedInput: true, offsetIsFree: true, name: 'y' });
  expect(readLayerWeight(model, layers[0]!)).toMatchObject({ rows: 3, columns: 2 });
});

test('a part of a model makes its outputs alone, and the same values', async () => {
  const model = parseOnnx(residualModel(), 'model.onnx');
  const part = partialModel(model, ['b', 'first.out']);
  expect(part.nodes.map(({ message }) => message.opType)).toEqual([
    'Conv',
    'BatchNormalization',
    'Relu',
    'Conv',
    'BatchNormalization',
    'Relu',
  ]);
  const shapes = { x: [1, 1, imageSide, imageSide] };
  const [whole, results] = [await runOnnx(model.withOutputs(['b', 'first.out']), shapes), await runOnnx(part, shapes)];
  expect(Object.keys(results).sort()).toEqual(['b', 'first.out']);
  for (const [name, { values }] of Object.entries(results))
    expect(values).toBeAllclose(whole[name]!.values, { atol: 1e-6 });
});
