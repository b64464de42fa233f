import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { CnnComparison } from '../../src/comparison/onnx-comparison.js';
import type { OnnxCompressionResult } from '../../src/compression/cnn/compress-onnx.js';
import { idxBytes } from '../calibration/images/idx-bytes.js';
import { imagePixels, imageSide, residualModel } from '../compression/cnn/residual-fixture.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { dsf, root } from './run-dsf.js';

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const [count, unsigned] = [48, 8];
const model = at('model.onnx');
writeFileSync(model, residualModel());
writeFileSync(at('grouped.onnx'), residualModel({ groups: 4 }));
writeFileSync(at('images'), idxBytes(unsigned, [count, imageSide, imageSide], imagePixels(count, 3)));
writeFileSync(at('labels'), idxBytes(unsigned, [count], new Uint8Array(count).fill(1)));
const common = ['--mean', '0.5', '--std', '0.25', '--engine', 'wasm', '--threads', '1'];
const calibrated = ['--calibration', at('images'), ...common];

test('compress writes a model, says what it did, and the same command gives the same bytes', () => {
  const out = at('small.onnx');
  const { status, stdout, stderr } = dsf('compress', model, '--out', out, ...calibrated);
  expect(stderr).toMatch(/^\[2\/4\] second 8x72 +(double-sparse|obc|admm|kept)/m);
  expect(status).toBe(0);
  expect(stdout).toContain('verified: loaded by onnxruntime, outputs equal to those of the factors');
  expect(stdout).toMatch(/^nonzeros: \d+ of 1264 weights/m);
  expect(stdout).toMatch(/^logits +240 +0\.\d+/m);
  const again = at('again.onnx');
  const json = dsf('compress', model, '--out', again, ...calibrated, '--json');
  const result = JSON.parse(json.stdout) as OnnxCompressionResult;
  expect(result).toMatchObject({ bytes: statSync(again).size, images: count, skipped: [], kept: [] });
  expect(result.layers).toHaveLength(4);
  expect(readFileSync(again).equals(readFileSync(out))).toBe(true);
});

test('afterwards accuracies of both models; a grouped convolution group by group', () => {
  const out = at('evaluated.onnx');
  const images = ['--images', at('images'), '--labels', at('labels')];
  const run = dsf('compress', at('grouped.onnx'), '--out', out, ...calibrated, ...images, '--method', 'obc');
  expect(run.stdout).toMatch(/^dense: top-1 .* of 48 images/m);
  expect(run.stdout).toMatch(/^compressed: top-1 .* of 48 images/m);
  expect(run.stderr).toContain('second 8x18 in 4 groups');
});

test('a dry run writes nothing, lists the layers with their budgets, and tells sizes', () => {
  const out = at('dry.onnx');
  const dry = (...more: string[]) => dsf('compress', model, '--out', out, '--dry-run', '--sparsity', '0.75', ...more);
  const { status, stdout } = dry('--exclude', 'head');
  expect(status).toBe(0);
  expect(stdout).toMatch(/^first +8x9 +auto +72 +18$/m);
  expect(stdout).toMatch(/^head +kept +40 +not included$/m);
  expect(stdout).toMatch(/^3 layers with 1224 weights, of which 306 nonzeros would stay/m);
  // (72 + 2 x 576) weights at 64 positions, 40 at one.
  expect(stdout).toMatch(/^multiply-adds before, for an input of 1x1x8x8: 78\.4 k$/m);
  expect(existsSync(out)).toBe(false);
  const plan = JSON.parse(dry('--json', '--format', 'plain').stdout);
  expect(plan).toMatchObject({ denseBytes: statSync(model).size, nonzeros: 316, multiplyAdds: { stored: 78_376 } });
  // 40 -> 5 x 5 + 5 x 8, 72 -> 64 + 72, 576 -> 64 + 576.
  expect(plan.bytes).toEqual({
    single: statSync(model).size,
    factors: statSync(model).size + 4 * (25 + 64 + 2 * 64),
  });
});

test('patterns of nodes that are not compressed: excluded as wanted, included with their reason', () => {
  const path = at('depthwise.onnx');
  writeFileSync(path, residualModel({ groups: 8 }));
  const dry = (...more: string[]) => dsf('compress', path, '--out', at('dry.onnx'), '--dry-run', ...more);
  expect(dry('--exclude', 'second')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^second +kept/m) });
  expect(dry('--include', 'second').stderr).toMatch(/pattern second matches only what is not compressed: second: /);
  expect(dry('--exclude', 'nothing').stderr).toMatch(/pattern nothing matches no layer\n.*--dry-run/);
});

test('compare puts methods and sparsities side by side', () => {
  const flags = ['--images', at('images'), '--methods', 'auto,magnitude', '--sparsities', '0.5,0.8', ...calibrated];
  const { status, stdout } = dsf('compare', model, ...flags, '--labels', at('labels'));
  expect(status).toBe(0);
  expect(stdout).toMatch(/^sparsity +method +top-1/m);
  expect(stdout.match(/^0\.[58] +(auto|magnitude)/gm)).toHaveLength(4);
  const parity = JSON.parse(dsf('compare', model, ...flags, '--json').stdout) as CnnComparison;
  expect(parity.dense.evaluation.accuracy).toBeUndefined();
  expect(parity.rows.map(({ method, sparsity }) => `${method} ${sparsity}`)).toEqual([
    'auto 0.5',
    'magnitude 0.5',
    'auto 0.8',
    'magnitude 0.8',
  ]);
});

test('compare fine-tunes on the calibration images with their labels', () => {
  const flags = ['--images', at('images'), '--labels', at('labels'), '--methods', 'magnitude', ...calibrated];
  const labelled = ['--calibration-labels', at('labels'), '--finetune', '2', '--finetune-batch', '8'];
  const { status, stdout, stderr } = dsf('compare', model, ...flags, ...labelled);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^sparsity .* fine-tuned +training /m);
  expect(stderr).toMatch(/magnitude-0\.5 fine-tuned: top-1 [\d.]+ %/);
  const refused = dsf('compare', model, ...flags, '--calibration-labels', at('labels'));
  expect(refused).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/without fine-tuning\n.*--finetune STEPS/),
  });
});

test.each<[string, number, RegExp, string[]]>([
  ['no calibration images', 2, /calibrated on images/, ['compress', model, '--out', at('x.onnx')]],
  [
    'flags of language models',
    2,
    /--seq-len are for language models/,
    ['compress', model, '--out', at('x.onnx'), '--seq-len', '8', ...calibrated],
  ],
  [
    'a sequence of language models',
    2,
    /--sequential/,
    ['compress', model, '--out', at('x.onnx'), '--sequential', 'block', ...calibrated],
  ],
  [
    'flags of ONNX models',
    2,
    /--allocate are for ONNX models/,
    ['compress', join(root, 'models/sotu-m'), '--out', at('x'), '--allocate', 'uniform'],
  ],
  [
    'a method of ONNX models',
    2,
    /--method/,
    ['compress', join(root, 'models/sotu-m'), '--out', at('x'), '--method', 'auto'],
  ],
  ['nothing to compare on', 2, /compared on images/, ['compare', model, ...calibrated]],
  ['an existing file', 1, /exists/, ['compress', model, '--out', at('images'), ...calibrated]],
])('%s: refused', (_, status, message, args) => {
  const run = dsf(...args);
  expect(run.stderr).toMatch(message);
  expect(run.status).toBe(status);
  expect(run.stdout).toBe('');
});
