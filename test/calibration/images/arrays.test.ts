import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openImages } from '../../../src/calibration/images/open-images.js';
import type { RawImage } from '../../../src/calibration/images/raw-image.js';
import { errorOf, onlyTypedErrors, withBoundedMemory } from '../../formats/expect-error.js';
import { mutationsOf } from '../../formats/mutations.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { idxBytes } from './idx-bytes.js';

const folder = temporaryFolder();
const golden = `${import.meta.dirname}/golden`;
const written = (name: string, bytes: Uint8Array): string => {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
};

describe('.npy', () => {
  /** What make_goldens.py wrote: value 60 n + 20 c + 5 y + x. */
  const expected = (n: number, value: (i: number) => number): number[] =>
    Array.from({ length: 60 }, (_, i) => value(60 * n + 20 * (i % 3) + Math.floor(i / 3)));

  test.each(['pixels-f4-v1', 'pixels-f4-v2', 'pixels-f4-v3', 'planes-f8', 'planes-u1'])('%s', (name) => {
    const source = openImages(`${golden}/${name}.npy`);
    expect(source.names).toEqual(['0', '1']);
    expect(source.channels).toBe(3);
    for (const index of [1, 0]) {
      const image = source.read(index) as RawImage;
      expect(image).toMatchObject({ height: 4, width: 5, channels: 3 });
      expect([...image.data]).toEqual(expected(index, name.endsWith('u1') ? (i) => i : (i) => i / 8 - 3));
    }
    source.close();
  });

  test('what is not images in C order is refused with what would be', () => {
    expect(errorOf(() => openImages(`${golden}/fortran.npy`), 'file-unsupported').hint).toContain('ascontiguousarray');
    errorOf(() => openImages(`${golden}/labels-i8.npy`), 'file-unsupported');
  });

  const withHeader = (header: string, data = 0): Uint8Array => {
    const length = Buffer.alloc(2);
    length.writeUInt16LE(header.length);
    return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), length, Buffer.from(header), Buffer.alloc(data)]);
  };

  test('channels that could be either dimension need the layout', () => {
    const path = written(
      'three.npy',
      withHeader("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3, 2, 3), }", 18),
    );
    expect(errorOf(() => openImages(path), 'option-out-of-range').hint).toContain('--array-layout');
    expect(openImages(path, 'nchw').read(0)).toMatchObject({ height: 2, width: 3 });
    expect(openImages(path, 'nhwc').read(0)).toMatchObject({ height: 3, width: 2 });
  });

  test.each([
    "{'descr': '<f4', 'fortran_order': False, 'shape': (9007199254740993, 4096, 4096), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2, 2), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1,,2), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967295, 4294967295, 4294967295), }",
    "{'fortran_order': False, 'shape': (1, 2, 2), }",
    'pickle',
  ])('hostile header %s', (header) => {
    errorOf(() => openImages(written('hostile.npy', withHeader(header, 64))), 'file-malformed');
  });

  test('no mutation breaks more than the file', () => {
    const bytes = readFileSync(`${golden}/planes-u1.npy`);
    withBoundedMemory(() =>
      fc.assert(
        fc.property(mutationsOf(bytes), (mutated) => readAll(written('mutated.npy', mutated))),
        { numRuns: 300 },
      ),
    );
  });
});

function readAll(path: string): void {
  onlyTypedErrors(() => {
    const source = openImages(path);
    try {
      for (let i = 0; i < Math.min(4, source.names.length); i++) source.read(i);
    } finally {
      source.close();
    }
  });
}

describe('IDX', () => {
  const pixels = Uint8Array.from({ length: 24 }, (_, i) => 10 * i);
  const bytes = idxBytes(8, [4, 2, 3], pixels);

  test.each([
    ['plain', bytes],
    ['gzip', gzipSync(bytes)],
  ])('%s', (name, contents) => {
    const source = openImages(written(name, contents));
    expect(source.names).toHaveLength(4);
    expect(source.read(2)).toEqual({ height: 2, width: 3, channels: 1, data: pixels.subarray(12, 18) });
    source.close();
  });

  test.each([
    ['more than stated', idxBytes(8, [3, 2, 3], pixels)],
    ['less than stated', idxBytes(8, [2 ** 32 - 1, 2, 3], pixels)],
    ['no dimensions', Uint8Array.of(0, 0, 8, 0)],
    ['cut header', Uint8Array.of(0, 0, 8, 3, 0, 0)],
  ])('%s', (_, contents) => {
    errorOf(() => openImages(written('plain', contents)), 'file-malformed');
    errorOf(() => openImages(written('gzip', gzipSync(contents))), 'file-malformed', 'file-unsupported');
  });

  test('floats and labels are no images', () => {
    errorOf(() => openImages(written('floats', idxBytes(13, [1, 1, 1], new Uint8Array(4)))), 'file-unsupported');
    errorOf(() => openImages(written('labels', idxBytes(8, [4], new Uint8Array(4)))), 'file-unsupported');
  });

  test('a gzip bomb ends at what its header states', () => {
    const bomb = gzipSync(Buffer.concat([idxBytes(8, [1, 2, 2], new Uint8Array(4)), Buffer.alloc(500e6)]));
    withBoundedMemory(() => errorOf(() => openImages(written('bomb.gz', bomb)), 'file-malformed'), 100);
  });

  test('no mutation breaks more than the file', () => {
    withBoundedMemory(() => {
      for (const contents of [bytes, new Uint8Array(gzipSync(bytes))])
        fc.assert(
          fc.property(mutationsOf(contents), (mutated) => readAll(written('mutated', mutated))),
          { numRuns: 150 },
        );
    });
  });
});

test('anything else is refused by name', () => {
  errorOf(() => openImages(written('text', Buffer.from('hello'))), 'file-unsupported');
  errorOf(() => openImages(written('empty', new Uint8Array(0))), 'file-unsupported');
  errorOf(() => openImages(join(folder, 'absent')), 'file-unreadable');
});
