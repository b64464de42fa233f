import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import type { CnnComparison } from '../../src/comparison/onnx-comparison.js';
import { idxBytes } from '../calibration/images/idx-bytes.js';
import { imagePixels, imageSide, residualModel } from '../compression/cnn/residual-fixture.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { dsf, startDsf } from './run-dsf.js';

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const [count, unsigned, pixels] = [12, 8, imageSide ** 2];
const model = at('model.onnx');
writeFileSync(model, residualModel());
writeFileSync(at('labels'), idxBytes(unsigned, [count], new Uint8Array(count).fill(1)));
writeFileSync(at('high-labels'), idxBytes(unsigned, [count], new Uint8Array(count).fill(5)));
writeFileSync(at('images'), idxBytes(unsigned, [count, imageSide, imageSide], imagePixels(count, 3)));
const quick = ['--allocate', 'uniform', '--sequential', 'dense', '--engine', 'wasm', '--threads', '1'];
const common = [...quick, '--channels', 'gray', '--mean', '0.5', '--std', '0.25'];
const compress = (out: string, ...more: string[]) =>
  dsf('compress', model, '--out', at(out), '--method', 'magnitude', ...common, ...more);
const compare = (...more: string[]) => dsf('compare', model, '--methods', 'magnitude', ...common, ...more);

beforeAll(async () => {
  const values = imagePixels(count, 3);
  for (const name of ['flat', 'classes/a', 'classes/b', 'one/a']) mkdirSync(at(name), { recursive: true });
  for (let i = 0; i < count; i++) {
    const raw = { width: imageSide, height: imageSide, channels: 1 } as const;
    await sharp(values.subarray(i * pixels, (i + 1) * pixels), { raw })
      .png()
      .toFile(at(`flat/${i}.png`));
    for (const place of [`classes/${'ab'[i % 2]}`, 'one/a']) cpSync(at(`flat/${i}.png`), at(`${place}/${i}.png`));
  }
  writeFileSync(at('flat/cut.png'), readFileSync(at('flat/0.png')).subarray(0, 60));
  writeFileSync(at('classes/a/cut.png'), 'no image');
});

describe('corrupt images', () => {
  const lists = (kind: string, name: string) =>
    expect.stringMatching(
      new RegExp(`^1 of 13 ${kind} images could not be read and were skipped:\\n {2}${name}: `, 'm'),
    );

  test('of both sets are counted and listed by compress', () => {
    const run = compress('skipped.onnx', '--calibration', at('flat'), '--images', at('classes'));
    expect(run).toMatchObject({ status: 0, stderr: lists('calibration', 'cut.png') });
    expect(run.stderr).toEqual(lists('test', 'a/cut.png'));
    expect(run.stdout).toMatch(/^compressed: top-1 .* of 12 images/m);
  });

  test('and by compare, and are in its results', () => {
    const run = compare('--calibration', at('flat'), '--images', at('classes'), '--json');
    expect(run).toMatchObject({ status: 0, stderr: lists('calibration', 'cut.png') });
    expect(run.stderr).toEqual(lists('test', 'a/cut.png'));
    const { calibration, dense } = JSON.parse(run.stdout) as CnnComparison;
    expect(calibration).toEqual({ images: 12, skipped: [{ name: 'cut.png', reason: expect.any(String) }] });
    expect(dense.evaluation.skipped).toMatchObject([{ name: 'a/cut.png' }]);
  });
});

describe('labels by one rule', () => {
  const runs: [string, (...more: string[]) => { stdout: string; stderr: string }][] = [
    [
      'compress',
      (...more) => compress(`${more.join().replaceAll('/', '-')}.onnx`, '--calibration', at('flat'), ...more),
    ],
    ['compare', (...more) => compare('--calibration', at('flat'), ...more)],
    ['eval', (...more) => dsf('eval', model, '--against', model, ...more, '--channels', 'gray')],
  ];
  test.each(runs)('%s: folders of classes, else parity, and says which', (_, run) => {
    const classes = run('--images', at('classes'));
    expect(classes.stdout).toContain('top-1');
    expect(classes.stderr).toMatch(/classes of the images of .* are their 2 folders/);
    for (const name of ['flat', 'one']) {
      const parity = run('--images', at(name));
      expect(parity.stdout).toContain('cosine');
      expect(parity.stdout).not.toContain('top-1');
      expect(parity.stderr).toMatch(/no labels for the images of .*: outputs are compared/);
    }
    expect(run('--images', at('classes'), '--labels', 'none').stdout).not.toContain('top-1');
  });

  test('eval with neither labels nor another model is refused', () => {
    const run = dsf('eval', model, '--images', at('flat'), '--channels', 'gray');
    expect(run).toMatchObject({ status: 2, stderr: expect.stringContaining('--labels') });
  });
});

test.each<[string, number, RegExp, string[]]>([
  ['no folder for the output', 1, /cannot write .*nofolder.x\.onnx/, ['--out', at('nofolder/x.onnx')]],
  ['a folder as output', 1, /it is no file/, ['--out', at('flat'), '--force']],
  ['no test images', 1, /nothere/, ['--images', at('nothere')]],
  ['labels of other images', 1, /12 labels/, ['--images', at('classes'), '--labels', at('labels')]],
  ['classes that the model does not know', 2, /class 5/, ['--images', at('images'), '--labels', at('high-labels')]],
  ['test images of another size', 2, /8x8/, ['--images', at('images'), '--resize', '9,9']],
])('%s: told before anything is compressed', (_, status, message, more) => {
  const run = compress('early.onnx', '--calibration', at('images'), ...more);
  expect(run.stderr).toMatch(message);
  expect(run.stderr).not.toMatch(/^\[\d/m);
  expect(run).toMatchObject({ status, stdout: '' });
  expect(existsSync(at('early.onnx'))).toBe(false);
});

test('a failing row of a comparison: the table with the others, the reason, exit code 1', () => {
  const flags = ['--calibration', at('images'), '--images', at('images'), '--sparsities', '0.999,0.5'];
  const run = compare(...flags, '--allocate', 'errors', '--keep', at('kept'));
  expect(run.status).toBe(1);
  expect(run.stdout).toMatch(/^0\.5 +magnitude/m);
  expect(run.stdout).toMatch(/^magnitude at 0\.999 failed: .*above the sparsest levels/m);
  // Rows of other test images are none of these.
  writeFileSync(at('others'), idxBytes(unsigned, [count, imageSide, imageSide], imagePixels(count, 9)));
  const other = ['--calibration', at('images'), '--images', at('others'), '--sparsities', '0.5', '--keep', at('kept')];
  const refused = compare(...other, '--allocate', 'errors');
  expect(refused).toMatchObject({ status: 1, stderr: expect.stringMatching(/other settings: evaluation was/) });
});

test('an interruption tells whether there is a file', { timeout: 60_000 }, async () => {
  writeFileSync(at('many'), idxBytes(unsigned, [200_000, imageSide, imageSide], imagePixels(200_000, 3)));
  const interrupted = async (out: string, since: RegExp): Promise<string> => {
    const images = ['--calibration', at('images'), '--images', at('many'), '--method', 'magnitude'];
    const child = startDsf('compress', model, '--out', at(out), ...common, ...images);
    let [text, sent] = ['', false];
    const listen = (chunk: Buffer): void => {
      text += chunk;
      if (!sent && since.test(text)) sent = child.kill('SIGINT');
    };
    child.stdout?.on('data', listen);
    child.stderr?.on('data', listen);
    expect(await new Promise((done) => child.on('exit', done))).toBe(130);
    return text;
  };
  expect(await interrupted('never.onnx', /no labels/)).toContain('nothing was written');
  expect(existsSync(at('never.onnx'))).toBe(false);
  const text = await interrupted('there.onnx', /verified/);
  expect(text).toContain(`interrupted during the evaluation; ${at('there.onnx')} is written`);
  expect(text).not.toContain('nothing was written');
  expect(existsSync(at('there.onnx'))).toBe(true);
});
