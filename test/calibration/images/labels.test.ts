import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readLabels } from '../../../src/calibration/images/labels.js';
import { errorOf, onlyTypedErrors } from '../../formats/expect-error.js';
import { mutationsOf } from '../../formats/mutations.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { idxBytes } from './idx-bytes.js';

const folder = temporaryFolder();
const golden = `${import.meta.dirname}/golden`;
const sourceOf = (...names: string[]) => ({
  path: 'somewhere',
  names,
  channels: undefined,
  read: () => ({ file: '' }),
  close() {},
});
const written = (contents: string | Uint8Array): string => {
  writeFileSync(join(folder, 'labels'), contents);
  return join(folder, 'labels');
};

test('folders are classes, sorted', () => {
  const { values, classes } = readLabels(sourceOf('dog/x/1.png', 'cat/1.png', 'Zebra/2.png', 'dog/3.png'));
  expect(classes).toEqual(['Zebra', 'cat', 'dog']);
  expect([...values]).toEqual([2, 1, 0, 2]);
  errorOf(() => readLabels(sourceOf('1.png')), 'not-found');
});

describe('arrays', () => {
  const two = sourceOf('0', '1');

  test('IDX, plain and compressed, and .npy', () => {
    const bytes = idxBytes(8, [2], Uint8Array.of(9, 0));
    expect([...readLabels(two, written(bytes)).values]).toEqual([9, 0]);
    expect([...readLabels(two, written(gzipSync(bytes))).values]).toEqual([9, 0]);
    expect([...readLabels(two, written(idxBytes(12, [2], Uint8Array.of(0, 0, 1, 0, 0, 0, 0, 7)))).values]).toEqual([
      256, 7,
    ]);
    expect([...readLabels(two, `${golden}/labels-i8.npy`).values]).toEqual([3, 1]);
  });

  test('other numbers, dimensions, values', () => {
    errorOf(() => readLabels(sourceOf('0'), `${golden}/labels-i8.npy`), 'shape-mismatch');
    errorOf(() => readLabels(two, `${golden}/planes-u1.npy`), 'shape-mismatch');
    errorOf(() => readLabels(two, written(idxBytes(9, [2], Uint8Array.of(1, 255)))), 'file-malformed');
  });
});

describe('lines', () => {
  const source = sourceOf('a/1.png', 'b/1.png', 'c/2,3.png');

  test('numbers in any order, a heading, quotation marks, tabs, ./', () => {
    const path = written('file,label\r\n./b/1.png,7\n"c/2,3.png", "4"\n\na/1.png\t10\n');
    expect(readLabels(source, path)).toEqual({ values: Int32Array.of(10, 7, 4), classes: undefined });
  });

  test('names of classes, those of images that are not there too', () => {
    const { values, classes } = readLabels(source, written('a/1.png,cat\nb/1.png,dog\n2,3.png,cat\nx.png,bee\n'));
    expect(classes).toEqual(['bee', 'cat', 'dog']);
    expect([...values]).toEqual([1, 2, 1]);
  });

  test('a name without folders must mean one image', () => {
    const error = errorOf(() => readLabels(source, written('1.png,1\n2,3.png,1\n')), 'not-found');
    expect(error.data).toMatchObject({ count: 2, names: ['a/1.png', 'b/1.png'] });
  });

  test.each(['a/1.png', ',1', 'a/1.png,', 'a/1.png,1\na/1.png,2'])('%j', (text) => {
    const error = errorOf(() => readLabels(source, written(text)), 'file-malformed');
    expect(error.message).toMatch(/line \d/);
  });

  test('no mutation breaks more than the file', () => {
    const bytes = Buffer.from('a/1.png,cat\n"b/1.png",dog\n');
    fc.assert(
      fc.property(mutationsOf(bytes), (mutated) => onlyTypedErrors(() => readLabels(source, written(mutated)))),
      { numRuns: 200 },
    );
  });
});
