import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ImageEvaluation } from '../../src/evaluation/evaluate-images.js';
import { idxBytes } from '../calibration/images/idx-bytes.js';
import { classifierModel, randomPixels, side } from '../evaluation/classifier-fixture.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { dsf, root } from './run-dsf.js';

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const count = 40;
const unsigned = 8;
writeFileSync(at('model.onnx'), classifierModel());
writeFileSync(at('source.onnx'), classifierModel({ change: 0.01 }));
writeFileSync(at('images'), idxBytes(unsigned, [count, side, side], randomPixels(count, 3)));
writeFileSync(at('labels'), idxBytes(unsigned, [count], new Uint8Array(count).fill(2)));
writeFileSync(at('bgr.json'), JSON.stringify({ channels: 'gray', mean: [0.5], crop: 4 }));
writeFileSync(at('gray.json'), JSON.stringify({ channels: 'gray', resize: [4, 4], mean: [0.5] }));

const golden = join(root, 'test/calibration/images/golden');
for (const [from, to] of [
  ['rgb.png', 'pictures/a/1.png'],
  ['gray.png', 'pictures/b/2.png'],
  ['rgb.jpg', 'pictures/b/3.jpg'],
] as const) {
  mkdirSync(join(at(to), '..'), { recursive: true });
  cpSync(join(golden, from), at(to));
}
writeFileSync(at('pictures/b/cut.png'), 'no image');

test('accuracy and output parity, as text and as JSON', () => {
  const { status, stdout, stderr } = dsf('eval', at('model.onnx'), '--images', at('images'), '--labels', at('labels'));
  expect(stderr).toMatch(/^40 images in/m);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^top-1 \d+\.\d\d ± \d+\.\d\d % \(\d+ of 40 images\), top-5 \d+\.\d\d ± \d+\.\d\d %\n$/);
  const parity = dsf('eval', at('model.onnx'), '--images', at('images'), '--against', at('source.onnx'));
  expect(parity.stdout).toMatch(/^logits +280 +0\.99\d+ +0\.\d+ +0\.\d+ +\d+\.\d\d %$/m);
  expect(parity.stdout).not.toContain('top-1');
  const flags = ['--images', at('images'), '--labels', at('labels'), '--against', at('source.onnx'), '--json'];
  const both = JSON.parse(dsf('eval', at('model.onnx'), ...flags).stdout) as ImageEvaluation;
  expect(both).toMatchObject({ images: count, skipped: [], accuracy: { images: count }, parity: { logits: {} } });
});

test('folders are classes; corrupt images are skipped, counted and listed; flags win over the JSON', () => {
  const run = (...more: string[]) =>
    dsf('eval', at('model.onnx'), '--images', at('pictures'), '--preprocessing', at('gray.json'), ...more);
  const { status, stdout, stderr } = run();
  expect(stderr).toContain('1 of 4 images could not be read and were skipped:\n  b/cut.png: ');
  expect(stdout).toMatch(/of 3 images/);
  expect(status).toBe(0);
  const { skipped } = JSON.parse(run('--json').stdout) as ImageEvaluation;
  expect(skipped).toEqual([{ name: 'b/cut.png', reason: expect.any(String) }]);
  expect(run('--resize', '5,5').stderr).toContain('5x5');
});

test.each<[string, number, RegExp, string[]]>([
  ['no images', 2, /evaluated on images/, ['model.onnx']],
  [
    'flags of language models',
    2,
    /--seq-len, --text are for language models/,
    ['model.onnx', '--text', 'x', '--seq-len', '9'],
  ],
  ['flags of ONNX models', 2, /--images, --resize are for ONNX/, ['model.gguf', '--images', 'x', '--resize', '4']],
  ['a language model without a text', 2, /evaluated on a text/, ['model.gguf']],
  ['a preprocessing that is none', 1, /crop/, ['model.onnx', '--images', 'images', '--preprocessing', 'bgr.json']],
  ['a value out of range', 2, /std/, ['model.onnx', '--images', 'images', '--std', '0']],
  ['labels of other images', 1, /4 labels|40 labels/, ['model.onnx', '--images', 'pictures', '--labels', 'labels']],
  ['images of another size', 2, /--resize 4,4/, ['model.onnx', '--images', 'pictures', '--channels', 'gray']],
  ['a model that is none', 1, /not an ONNX model/, ['labels.onnx', '--images', 'images', '--labels', 'labels']],
])('refuses %s', (_case, code, message, [model, ...args]) => {
  cpSync(at('labels'), at('labels.onnx'));
  const paths = args.map((each, i) => (/^--(images|labels|preprocessing)$/.test(args[i - 1] ?? '') ? at(each) : each));
  const { status, stdout, stderr } = dsf('eval', at(model!), ...paths);
  expect(stderr).toMatch(message);
  expect(status).toBe(code);
  expect(stdout).toBe('');
});
