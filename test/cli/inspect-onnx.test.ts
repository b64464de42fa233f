import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { OnnxInspection } from '../../src/report/onnx-inspection.js';
import { classifierModel } from '../evaluation/classifier-fixture.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import { dsf } from './run-dsf.js';

const path = join(temporaryFolder(), 'model.onnx');
writeFileSync(path, classifierModel());

test('a table, and JSON', () => {
  const { status, stdout } = dsf('inspect', path);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^conv +7x16 +112 +100\.0 % +0\.4 kB +32\.00 .* W 7x1x4x4 plain F32$/m);
  expect(stdout).toMatch(/ONNX with operators of version 17, .*; 1 layers, 0 kept/);
  const inspection = JSON.parse(dsf('inspect', path, '--input-shape', '5,1,4,4', '--json').stdout) as OnnxInspection;
  expect(inspection).toMatchObject({
    entries: 112,
    bytes: 448,
    multiplyAdds: { dense: 5 * 112, input: [5, 1, 4, 4] },
  });
});

test.each<[string, RegExp, string[]]>([
  ['--verify of an ONNX model', /--verify is for folders/, [path, '--verify']],
  ['--input-shape of another model', /--input-shape is for ONNX/, ['model.gguf', '--input-shape', '1']],
  ['a shape that is none', /input-shape/, [path, '--input-shape', '1,0']],
])('refuses %s', (_case, message, args) => {
  const { status, stdout, stderr } = dsf('inspect', ...args);
  expect(stderr).toMatch(message);
  expect(status).toBe(2);
  expect(stdout).toBe('');
});
