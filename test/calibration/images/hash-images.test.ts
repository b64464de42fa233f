import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hashImages } from '../../../src/calibration/images/hash-images.js';
import { openImages } from '../../../src/calibration/images/open-images.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { idxBytes } from './idx-bytes.js';

const folder = temporaryFolder();
const unsigned = 8;

test('arrays: the same values have the same hash, one other pixel another one', () => {
  const hashOf = (name: string, pixels: number[], shape: number[]): string => {
    const path = join(folder, name);
    writeFileSync(path, idxBytes(unsigned, shape, Uint8Array.from(pixels)));
    return hashImages(openImages(path));
  };
  const first = hashOf('a', [1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]);
  expect(hashOf('b', [1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2])).toBe(first);
  expect(hashOf('c', [1, 2, 3, 4, 5, 6, 7, 9], [2, 2, 2])).not.toBe(first);
  expect(hashOf('d', [1, 2, 3, 4, 5, 6, 7, 8], [2, 1, 4])).not.toBe(first);
});

test('folders: by names, sizes, times and first bytes; files that cannot be read count', () => {
  const path = join(folder, 'images');
  mkdirSync(path);
  const write = (name: string, text: string, time = 1): string => {
    writeFileSync(join(path, name), text);
    utimesSync(join(path, name), time, time);
    return hashImages(openImages(path));
  };
  write('1.png', 'one');
  const first = write('2.png', 'two');
  expect(write('2.png', 'two')).toBe(first);
  expect(write('2.png', 'owt')).not.toBe(first);
  expect(write('2.png', 'two', 2)).not.toBe(first);
  expect(write('2.png', 'two ')).not.toBe(first);
  write('2.png', 'two');
  const opened = openImages(path);
  rmSync(join(path, '2.png'));
  expect(hashImages(opened)).not.toBe(first);
});
