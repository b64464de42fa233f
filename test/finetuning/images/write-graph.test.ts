import { expect, it } from 'vitest';
import { GraphWeights } from '../../../src/finetuning/images/graph-weights.js';
import { readGraph } from '../../../src/finetuning/images/read-graph.js';
import { withValues } from '../../../src/finetuning/images/write-graph.js';
import type { OnnxModel } from '../../../src/formats/onnx/model.js';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { serializeOnnx } from '../../../src/formats/onnx/writer.js';
import { findLayers } from '../../../src/models/cnn/find-layers.js';
import { rewriteModel } from '../../../src/models/cnn/rewrite.js';
import { unpackConstants } from '../../../src/models/cnn/unpack-constants.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import { randomMatrix } from '../../helpers.js';
import { node, vector, weight } from './image-fixtures.js';

const size = { height: 4, width: 4, channels: 1 };
const inputs = { image: ['n', 1, 4, 4] };

/** Weights of a model and the model with all trained values doubled, written and read again. */
function doubled(model: OnnxModel) {
  const plain = unpackConstants(model);
  const weights = new GraphWeights(plain.model, plain.packed, ['linear', 'biases']);
  readGraph(plain.model, size, weights);
  const values = weights.finish().map((value) => 2 * value);
  const written = withValues(model, values, weights.stored);
  return { plain, weights, model: parseOnnx(serializeOnnx(written), 'written.onnx') };
}

it('values in Constant nodes are trained and written', () => {
  const [w, b] = [weight('', [3, 16], 1), vector('other', 3, 1)];
  const bytes = buildModel({
    nodes: [
      { opType: 'Constant', input: [], output: ['w'], attributes: { value: w } },
      { opType: 'Constant', input: [], output: ['b'], attributes: { value: b } },
      node('Flatten', ['image'], 'rows'),
      node('Gemm', ['rows', 'w', 'b'], 'logits', { transB: 1 }),
    ],
    inputs,
    outputs: ['logits'],
  });
  const source = parseOnnx(bytes, 'constants.onnx');
  const { model } = doubled(source);
  const constants = model.nodes.slice(0, 2).map(({ message }) => model.readFloats(message.attribute[0]!.t!));
  expect(constants[0]).toEqual(source.readFloats(w).map((value) => 2 * value));
  expect(constants[1]).toEqual(new Float32Array(3).fill(2));
  expect(model.nodes.slice(2)).toEqual(source.nodes.slice(2));
});

it.each([3, 8])('the support of packed weights is their bitmask, vanished values too, version %i', (irVersion) => {
  const [rows, columns] = [48, 16];
  const initializer = floatTensor('half', 'F16', [rows, columns], randomMatrix(rows, columns, 1).data);
  const named = irVersion < 4 ? { half: [rows, columns] } : {};
  const source = parseOnnx(
    buildModel({
      nodes: [
        node('Cast', ['half'], 'w', { to: 1 }),
        node('Flatten', ['image'], 'rows'),
        node('Gemm', ['rows', 'w'], 'logits', { transB: 1 }),
      ],
      ...{ initializers: [initializer], inputs: { ...inputs, ...named }, outputs: ['logits'], irVersion },
    }),
    'dense.onnx',
  );
  const dense = randomMatrix(rows, columns, 2);
  for (const i of dense.data.keys()) if (i % 3 !== 0) dense.data[i] = 0;
  // Below the smallest number of fp16.
  dense.data[6] = 1e-9;
  const [layer] = findLayers(source).layers;
  const layers = new Map([[layer!, { weight: { kind: 'dense' as const, weight: dense } }]]);
  const { model } = rewriteModel(source, { layers });
  const { plain, weights, model: written } = doubled(parseOnnx(serializeOnnx(model), 'packed.onnx'));
  const [stored] = weights.stored;
  expect([...stored!.places]).toEqual(Array.from({ length: 256 }, (_, i) => 3 * i));
  const again = unpackConstants(written);
  const [name] = plain.packed.keys();
  expect(again.packed.get(name!)?.places).toEqual(stored!.places);
  const read = (from: OnnxModel) => from.readFloats(from.initializers.get(name!)!.message);
  expect(read(again.model)).toEqual(read(plain.model).map((value) => 2 * value));
});
