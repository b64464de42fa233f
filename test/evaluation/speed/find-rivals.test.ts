import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findRivals } from '../../../src/evaluation/speed/find-rivals.js';
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
