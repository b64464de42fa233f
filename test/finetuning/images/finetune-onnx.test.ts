import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { openOnnx } from '../../../src/formats/onnx/reader.js';
import { writeOnnx } from '../../../src/formats/onnx/writer.js';
import { chooseEngine } from '../../../src/linalg/engines/select.js';
import { type Matrix, matrix } from '../../../src/linalg/matrix.js';
import { findLayers } from '../../../src/models/cnn/find-layers.js';
import { rewriteModel } from '../../../src/models/cnn/rewrite.js';
import { unpackConstants } from '../../../src/models/cnn/unpack-constants.js';
import { idxBytes } from '../../calibration/images/idx-bytes.js';
import { dsf, startDsf } from '../../cli/run-dsf.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { fillRandom } from '../../helpers.js';
import { classes, node, side, vector, weight, writeImages } from './image-fixtures.js';

const folder = temporaryFolder();
const path = (name: string): string => join(folder, name);
const channels = 12;
const images = ['--images', path('images.idx')];
const settings = [
  ...[...images, '--labels', path('labels.idx'), '--validation', path('other.idx')],
  ...['--validation-labels', path('other-labels.idx'), '--engine', chooseEngine().name, '--learning-rate', '0.01'],
  ...['--batch', '16', '--micro-batch', '4', '--evaluate-every', '10', '--save-every', '5'],
];

/** The largest entries stay, a third of them. */
function pruned({ rows, columns, data }: Matrix): Matrix {
  const magnitudes = data.map(Math.abs).sort();
  const limit = magnitudes[Math.floor((2 * data.length) / 3)] as number;
  return matrix(
    rows,
    columns,
    data.map((value) => (Math.abs(value) < limit ? 0 : value)),
  );
}

beforeAll(() => {
  writeImages(path('images.idx'), path('labels.idx'), 90, 1);
  writeImages(path('other.idx'), path('other-labels.idx'), 60, 2);
  const pads = { pads: [1, 1, 1, 1] };
  writeFileSync(
    path('dense.onnx'),
    buildModel({
      nodes: [
        node('Conv', ['image', 'w1', 'b1'], 'a', pads),
        node('Relu', ['a'], 'b'),
        node('Conv', ['b', 'w2'], 'c', pads),
        node('BatchNormalization', ['c', 'scale', 'shift', 'mean', 'variance'], 'd'),
        node('Add', ['d', 'b'], 'e'),
        node('Relu', ['e'], 'f'),
        node('GlobalAveragePool', ['f'], 'g'),
        node('Flatten', ['g'], 'h'),
        node('Gemm', ['h', 'w3', 'b3'], 'logits', { transB: 1 }),
      ],
      initializers: [
        ...[weight('w1', [channels, 1, 3, 3], 1), weight('w2', [channels, channels, 3, 3], 2)],
        ...[weight('w3', [classes, channels], 3), vector('b1', channels, 0), vector('b3', classes, 0)],
        ...[vector('scale', channels, 1), vector('shift', channels, 0)],
        ...[vector('mean', channels, 0), vector('variance', channels, 1)],
      ],
      inputs: { image: ['n', 1, side, side] },
      outputs: ['logits'],
    }),
  );
  const source = openOnnx(path('dense.onnx'));
  const layers = findLayers(source).layers.filter(({ name }) => name === 'Conv-c');
  const factors = (seed: number) => {
    const [a, b] = [new Float32Array(channels ** 2), new Float32Array(channels ** 2 * 9)];
    const part = (rows: number, columns: number, data: Float32Array, s: number) =>
      pruned(
        matrix(
          rows,
          columns,
          fillRandom(data, s).map((value) => value * 0.3),
        ),
      );
    return {
      kind: 'factors' as const,
      a: part(channels, channels, a, seed),
      b: part(channels, channels * 9, b, seed + 1),
    };
  };
  const replaced = new Map(layers.map((layer) => [layer, { weight: factors(5) }]));
  writeOnnx(rewriteModel(source, { layers: replaced }).model, path('compressed.onnx'));
  source.close();
});

/** Names of tensors with the places of their nonzeros, and names of all nodes. */
function supportsOf(file: string): unknown {
  const model = openOnnx(file);
  const { model: plain, packed } = unpackConstants(model);
  expect(packed.size).toBeGreaterThan(0);
  const places = [...packed.keys()].map((name) => {
    const values = plain.readFloats(plain.initializers.get(name)!.message);
    return [name, [...values.keys()].filter((i) => values[i] !== 0)];
  });
  const nodes = model.nodes.map(({ message }) => [message.opType, message.input, message.output]);
  model.close();
  return [places, nodes];
}

const finetune = (model: string, out: string, ...more: string[]): string[] => [
  ...['finetune', path(model), '--out', path(out), ...settings, ...more],
];

it('trains a dense model with labels, and a compressed one on its supports with labels and a teacher', () => {
  const dense = dsf(...finetune('dense.onnx', 'trained.onnx', '--steps', '40'));
  expect(dense.stderr).toMatch(/step 0: validation loss .*accuracy/);
  expect(dense.status).toBe(0);
  const accuracy = (text: string): number => Number([...text.matchAll(/accuracy ([\d.]+) %/g)].at(-1)?.[1]);
  expect(accuracy(dense.stderr)).toBeGreaterThan(95);
  // onnxruntime agrees with the tape.
  const evaluated = dsf(
    'eval',
    path('trained.onnx'),
    '--images',
    path('other.idx'),
    '--labels',
    path('other-labels.idx'),
    '--json',
  );
  expect((JSON.parse(evaluated.stdout) as { accuracy: { accuracy: number } }).accuracy).toMatchObject({ images: 60 });
  const teacher = ['--teacher', path('trained.onnx'), '--steps', '40', '--flip', '--shift', '1'];
  const result = dsf(...finetune('compressed.onnx', 'tuned.onnx', ...teacher));
  expect(result.status).toBe(0);
  expect(accuracy(result.stderr)).toBeGreaterThan(90);
  expect(supportsOf(path('tuned.onnx'))).toEqual(supportsOf(path('compressed.onnx')));
}, 120_000);

it('a teacher alone is enough, nothing is not', () => {
  const only = ['finetune', path('compressed.onnx'), '--out', path('imitated.onnx'), ...images, '--steps', '2'];
  expect(dsf(...only, '--batch', '8', '--teacher', path('dense.onnx'))).toMatchObject({ status: 0 });
  const neither = dsf(...only, '--force');
  expect(neither.status).not.toBe(0);
  expect(neither.stderr).toMatch(/is in no folder that would be its class|label/);
}, 60_000);

it('killed again and again ends with the bytes of an undisturbed one', async () => {
  const more = ['--steps', '25', '--teacher', path('dense.onnx'), '--shift', '1'];
  expect(dsf(...finetune('compressed.onnx', 'whole.onnx', ...more)).status).toBe(0);
  let kills = 0;
  for (let ended = false; !ended; ) {
    const child = startDsf(...finetune('compressed.onnx', 'broken.onnx', ...more));
    let said = '';
    child.stderr?.on('data', (data: Buffer) => {
      said += data.toString();
      if (said.split('\n').filter((line) => /^\[ *\d+\/25\]/.test(line)).length >= 8) child.kill('SIGKILL');
    });
    ended = (await new Promise((resolve) => child.on('exit', (_, signal) => resolve(signal)))) === null;
    if (!ended) kills++;
  }
  expect(kills).toBeGreaterThanOrEqual(2);
  expect(readFileSync(path('broken.onnx')).equals(readFileSync(path('whole.onnx')))).toBe(true);
  expect(existsSync(path('broken.onnx.run'))).toBe(false);
}, 180_000);

it('refuses labels beyond the classes, and an output that is there', () => {
  writeFileSync(path('wrong.idx'), idxBytes(8, [90], new Uint8Array(90).fill(7)));
  const wrong = dsf('finetune', path('dense.onnx'), '--out', path('no.onnx'), ...images, '--labels', path('wrong.idx'));
  expect(wrong.stderr).toMatch(/has class 7, the model knows 3/);
  expect(dsf(...finetune('dense.onnx', 'dense.onnx')).stderr).toMatch(/is the source model itself/);
  expect(dsf(...finetune('dense.onnx', 'compressed.onnx')).stderr).toMatch(/compressed.onnx exists/);
  expect(existsSync(path('compressed.onnx.run'))).toBe(false);
  expect(dsf(...finetune('dense.onnx', 'no.onnx', '--data', path('labels.idx'))).status).toBe(2);
}, 60_000);
