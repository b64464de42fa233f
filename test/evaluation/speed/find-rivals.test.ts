import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findRivals } from '../../../src/evaluation/speed/find-rivals.js';
import { importPackage } from '../../../src/evaluation/speed/installed-package.js';
import { rejectionOf } from '../../calibration/expect-rejection.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';

const kindsOf = ({ found }: ReturnType<typeof findRivals>) =>
  found.map(({ kind }) => kind).filter((kind) => kind !== 'blas');

test('an empty folder has no rivals but BLAS, and the list says what was looked for', () => {
  const folder = temporaryFolder();
  const rivals = findRivals(folder, folder);
  expect(kindsOf(rivals)).toEqual([]);
  for (const name of ['onnxruntime', '@huggingface/transformers', 'node-llama-cpp'])
    expect(
      rivals.absent.some((line) => line.startsWith(`${name}: `)),
      name,
    ).toBe(true);
});

test('an export beside the weights is found', () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'onnx'));
  const file = join(folder, 'onnx/model.onnx');
  writeFileSync(file, '');
  expect(findRivals(folder, folder).found).toContainEqual({ kind: 'onnxruntime', path: folder, file });
});

/** An installed package with an entry for import alone, as node-llama-cpp and transformers.js have it. */
function install(folder: string, name: string, exports: unknown): string {
  const place = join(folder, 'node_modules', name);
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'package.json'), JSON.stringify({ name, exports }));
  return place;
}

test('packages of the working directory run what lies beside the weights', () => {
  const [folder, dense] = [temporaryFolder(), temporaryFolder()];
  const llama = install(folder, 'node-llama-cpp', { '.': { types: './types.d.ts', import: './dist/index.js' } });
  const transformers = install(folder, '@huggingface/transformers', {
    node: { import: { types: './types.d.ts', default: './node.mjs' }, require: './node.cjs' },
    default: './web.js',
  });
  const nothing = findRivals(dense, folder);
  expect(kindsOf(nothing)).toEqual([]);
  expect(nothing.absent).toContain(`node-llama-cpp: no .gguf file in ${dense}`);
  mkdirSync(join(dense, 'onnx'));
  for (const name of ['onnx/model.onnx', 'model.Q4_1.gguf', 'model.f16.gguf']) writeFileSync(join(dense, name), '');
  const { found } = findRivals(dense, folder);
  expect(found).toContainEqual({ kind: 'transformers', path: dense, module: join(transformers, 'node.mjs') });
  const gguf = { kind: 'llama', module: join(llama, 'dist/index.js') };
  expect(found).toContainEqual({ ...gguf, path: dense, file: join(dense, 'model.f16.gguf') });
  const file = join(dense, 'model.Q4_1.gguf');
  expect(findRivals(file, folder).found).toContainEqual({ ...gguf, path: file, file });
});

test('a package with another interface is refused', async () => {
  const file = join(temporaryFolder(), 'index.mjs');
  writeFileSync(file, 'export const getLlama = 1;');
  await rejectionOf(() => importPackage(file, ['getLlama', 'Tensor']), 'file-unsupported');
  expect(await importPackage(file, ['getLlama'])).toMatchObject({ getLlama: 1 });
});
