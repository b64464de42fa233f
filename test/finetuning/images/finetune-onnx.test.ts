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
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { fillRandom } from '../../helpers.js';
import { smallModel, writeImages } from './image-fixtures.js';

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
  writeFileSync(path('dense.onnx'), smallModel(channels));
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

it('a loss that is no number stops the run and names the step', () => {
  const result = dsf(...finetune('dense.onnx', 'diverged.onnx', '--steps', '9', '--learning-rate', '1e30'));
  expect(result.status).not.toBe(0);
  expect(result.stderr).toMatch(/step [2-9]: the loss is (NaN|Infinity)/);
  expect(existsSync(path('diverged.onnx'))).toBe(false);
}, 60_000);

it('micro-batches change nothing but rounding', () => {
  const more = ['--batch', '8', '--steps', '3', '--learning-rate', '0.001', '--threads', '1'];
  const trained = ['8', '2'].map((microBatch) => {
    const name = `micro-${microBatch}.onnx`;
    const labelled = [...images, '--labels', path('labels.idx')];
    const run = [
      'finetune',
      path('dense.onnx'),
      '--out',
      path(name),
      ...labelled,
      ...more,
      '--micro-batch',
      microBatch,
    ];
    expect(dsf(...run).status).toBe(0);
    const model = openOnnx(path(name));
    const values = [...model.initializers.values()].map(({ message }) => model.readFloats(message));
    model.close();
    return values;
  });
  // fp32 sums in another order, of which each step of AdamW takes the direction: a hundredth of a step.
  for (const [i, values] of trained[0]!.entries()) expect(trained[1]![i]).toBeAllclose(values, { rtol: 0, atol: 1e-5 });
}, 60_000);
