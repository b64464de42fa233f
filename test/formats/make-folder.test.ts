import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeFolder } from '../../src/formats/make-folder.js';
import { errorOf } from './expect-error.js';
import { temporaryFolder } from './temporary-folder.js';

describe('makeFolder', () => {
  const folder = temporaryFolder();

  test('makes what is missing, and nothing where all is there', () => {
    const deep = join(folder, 'a', 'b', 'c');
    for (let i = 0; i < 2; i++) makeFolder(deep);
    expect(statSync(deep).isDirectory()).toBe(true);
  });

  test('refuses a file on the way', () => {
    writeFileSync(join(folder, 'file'), '');
    for (const path of [join(folder, 'file'), join(folder, 'file', 'x')])
      expect(errorOf(() => makeFolder(path), 'file-unwritable').message).toContain('file');
  });

  test.skipIf(process.platform !== 'linux')('ends where nothing can be made', () => {
    errorOf(() => makeFolder('/proc/nothing/here'), 'file-unwritable');
  });
});
