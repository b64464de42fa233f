import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { NodeDescription } from '../../../src/formats/onnx/node.js';
import type { TensorProto } from '../../../src/formats/onnx/proto/onnx_pb.js';
import { openOnnx } from '../../../src/formats/onnx/reader.js';
import { dsf } from '../../cli/run-dsf.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { classes, node, side, vector, weight, writeImages } from './image-fixtures.js';

const folder = temporaryFolder();
const path = (name: string): string => join(folder, name);
const width = 32;
const hidden = [node('Flatten', ['image'], 'rows'), node('MatMul', ['rows', 'w1'], 'a')];
const last = [node('Add', ['bias', 'c'], 'logits')];

const models: Record<string, { nodes: NodeDescription[]; initializers: TensorProto[] }> = {
  Conv: {
    nodes: [
      node('Conv', ['image', 'w1', 'b1'], 'a', { pads: [1, 1, 1, 1] }),
      node('Relu', ['a'], 'b'),
      node('Conv', ['b', 'w2'], 'c', { pads: [1, 1, 1, 1] }),
      node('GlobalAveragePool', ['c'], 'd'),
      node('Flatten', ['d'], 'logits'),
    ],
    initializers: [weight('w1', [width, 1, 3, 3], 1), vector('b1', width, 0), weight('w2', [classes, width, 3, 3], 2)],
  },
  Gemm: {
    nodes: [
      node('Flatten', ['image'], 'rows'),
      node('Gemm', ['rows', 'w1', 'b1'], 'a', { transB: 1 }),
      node('Relu', ['a'], 'b'),
      node('Gemm', ['b', 'w2'], 'logits', { transB: 1 }),
    ],
    initializers: [weight('w1', [width, side ** 2], 1), vector('b1', width, 0), weight('w2', [classes, width], 2)],
  },
  MatMul: {
    nodes: [...hidden, node('Relu', ['a'], 'b'), node('MatMul', ['b', 'w2'], 'c'), ...last],
    initializers: [weight('w1', [side ** 2, width], 1), weight('w2', [width, classes], 2), vector('bias', classes, 0)],
  },
};

beforeAll(() => {
  writeImages(path('images.idx'), path('labels.idx'), 90, 1);
  for (const [name, { nodes, initializers }] of Object.entries(models)) {
    const inputs = { image: ['n', 1, side, side] };
    writeFileSync(path(`${name}.onnx`), buildModel({ nodes, initializers, inputs, outputs: ['logits'] }));
  }
});

it.each(Object.keys(models))(
  'a compressed model of %s is trained, its new biases too',
  (name) => {
    const compressed = path(`${name}-compressed.onnx`);
    const made = dsf(
      ...['compress', path(`${name}.onnx`), '--out', compressed, '--sparsity', '0.5'],
      ...['--calibration', path('images.idx')],
    );
    expect(made.status).toBe(0);
    const labelled = ['--images', path('images.idx'), '--labels', path('labels.idx')];
    const trained = dsf(
      ...['finetune', compressed, '--out', path(`${name}-trained.onnx`), ...labelled, '--steps', '3', '--json'],
    );
    expect(trained.stderr).not.toContain('cannot be trained');
    expect(trained.status).toBe(0);
    const [before, after] = [openOnnx(compressed), openOnnx(path(`${name}-trained.onnx`))];
    expect(after.nodes.map(({ message }) => message.output)).toEqual(before.nodes.map(({ message }) => message.output));
    const biases = [...before.initializers.keys()].filter((each) => each.endsWith('/bias'));
    expect(biases.length).toBeGreaterThan(0);
    for (const bias of biases) {
      const [old, now] = [before, after].map((model) => model.readFloats(model.initializers.get(bias)!.message));
      expect(now, bias).not.toEqual(old);
    }
    before.close();
    after.close();
  },
  60_000,
);
