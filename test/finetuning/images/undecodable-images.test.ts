import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, expect, it } from 'vitest';
import { chooseEngine } from '../../../src/linalg/engines/select.js';
import { dsf, startDsf } from '../../cli/run-dsf.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { seededRandom } from '../../helpers.js';
import { side, smallModel } from './image-fixtures.js';

const folder = temporaryFolder();
const path = (name: string): string => join(folder, name);

/** Images of three classes, of which the first of each are damaged. */
async function writeFolder(name: string, count: number, damaged: number): Promise<void> {
  const random = seededRandom(count);
  for (const label of ['across', 'down', 'noise']) {
    mkdirSync(path(join(name, label)), { recursive: true });
    for (let i = 0; i < count; i++) {
      const pixels = Uint8Array.from({ length: side ** 2 }, () => 256 * random());
      const raw = { width: side, height: side, channels: 1 } as const;
      const png = await sharp(pixels, { raw }).png().toBuffer();
      writeFileSync(path(join(name, label, `${i}.png`)), i < damaged ? png.subarray(0, 20) : png);
    }
  }
}

beforeAll(async () => {
  writeFileSync(path('dense.onnx'), smallModel(4));
  await writeFolder('images', 6, 2);
  await writeFolder('other', 20, 4);
});

const finetune = (out: string): string[] => [
  ...['finetune', path('dense.onnx'), '--out', path(out), '--images', path('images'), '--channels', 'gray'],
  ...['--validation', path('other'), '--steps', '36', '--batch', '1', '--save-every', '1', '--json'],
  ...['--engine', chooseEngine().name, '--threads', '1', '--evaluate-every', '12'],
];

it('images that cannot be decoded are named and left out, steps without images too, also after an interruption', async () => {
  const whole = dsf(...finetune('whole.onnx'));
  expect(whole.stderr).toMatch(/across\/0\.png could not be read and is left out/);
  // All validation images are read, not the few windows that are enough of text.
  expect(whole.stderr).toContain('18 images could not be read and were left out');
  const result = JSON.parse(whole.stdout) as { steps: number; skipped: unknown[] };
  expect(result).toMatchObject({ steps: 36 });
  expect(result.skipped).toHaveLength(18);
  // Of two times through 18 images, six of which are damaged.
  expect(whole.stderr.match(/^\[ *\d+\/36\]/gm)).toHaveLength(24);
  const child = startDsf(...finetune('broken.onnx'));
  let said = '';
  child.stderr?.on('data', (data: Buffer) => {
    said += data.toString();
    if (/^\[1\d\/36\]/m.test(said)) child.kill('SIGKILL');
  });
  await new Promise((resolve) => child.on('exit', resolve));
  const resumed = dsf(...finetune('broken.onnx'));
  expect(resumed.stderr).toContain('going on behind step');
  expect(readFileSync(path('broken.onnx')).equals(readFileSync(path('whole.onnx')))).toBe(true);
}, 60_000);

it('with a teacher the folders of images are their classes', () => {
  const flags = ['--images', path('images'), '--channels', 'gray', '--steps', '2', '--teacher', path('dense.onnx')];
  const run = (out: string, ...more: string[]) =>
    dsf('finetune', path('dense.onnx'), '--out', path(out), ...flags, '--batch', '4', ...more);
  // The teacher is the model itself: without classes there would be no loss.
  const result = run('labelled.onnx');
  expect(result.stderr).toContain('the folders of the images are their classes');
  expect(Number(/\[1\/2\] loss ([\d.]+)/.exec(result.stderr)?.[1])).toBeGreaterThan(0.1);
  expect(run('imitated.onnx', '--teacher-weight', '1').stderr).toMatch(/\[1\/2\] loss 0\.0000/);
}, 60_000);
