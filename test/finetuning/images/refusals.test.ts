import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { idxBytes } from '../../calibration/images/idx-bytes.js';
import { dsf } from '../../cli/run-dsf.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { smallModel, writeImages } from './image-fixtures.js';

const folder = temporaryFolder();
const path = (name: string): string => join(folder, name);

beforeAll(() => {
  writeFileSync(path('dense.onnx'), smallModel(4));
  writeImages(path('images.idx'), path('labels.idx'), 9, 1);
  writeFileSync(path('wrong.idx'), idxBytes(8, [9], new Uint8Array(9).fill(7)));
  writeFileSync(path('large.idx'), idxBytes(8, [9, 12, 12], new Uint8Array(9 * 144)));
  writeFileSync(path('nhwc.json'), '{"layout": "nhwc"}');
});

const images = () => ['--images', path('images.idx')];
const labelled = () => [...images(), '--labels', path('labels.idx')];

it.each<[string, RegExp, () => string[]]>([
  [
    'validation labels beyond the classes',
    /images\.idx: \S+ has class 7, the model knows 3/,
    () => [...labelled(), '--validation', path('images.idx'), '--validation-labels', path('wrong.idx')],
  ],
  [
    'images of another size than the model declares',
    /12x12 with 1 channels after preprocessing, the model takes 8x8 with 1 channels[\s\S]*--resize 8,8/,
    () => ['--images', path('large.idx'), '--labels', path('labels.idx')],
  ],
  ['embeddings', /--train: .*"linear"\|"norms"\|"biases"/, () => [...labelled(), '--train', 'embeddings']],
  ['flags that mean nothing', /unknown option '--batch-size'/, () => [...labelled(), '--batch-size', '4']],
  ['another layout', /the layout nhwc of images/, () => [...labelled(), '--preprocessing', path('nhwc.json')]],
  [
    'a weight without a teacher',
    /--teacher is not given, so nothing needs --teacher-weight/,
    () => [...labelled(), '--teacher-weight', '0.3'],
  ],
  [
    'a weight of a teacher without classes',
    /--teacher-weight 0.3 of images without classes[\s\S]*--labels/,
    () => [...images(), '--teacher', path('dense.onnx'), '--teacher-weight', '0.3'],
  ],
])('refuses %s', (_, message, flags) => {
  const result = dsf('finetune', path('dense.onnx'), '--out', path('out.onnx'), '--steps', '1', ...flags());
  expect(result.stderr).toMatch(message);
  expect(result.status).not.toBe(0);
  expect(existsSync(path('out.onnx'))).toBe(false);
  expect(existsSync(path('out.onnx.run'))).toBe(false);
});

it('the help speaks of training', () => {
  const { stdout } = dsf('finetune', '--help');
  expect(stdout).toMatch(/images to train on/);
  expect(stdout).not.toMatch(/--batch-size|--layout/);
  expect(dsf('eval', '--help').stdout).toMatch(/images to evaluate on[\s\S]*--layout/);
});
