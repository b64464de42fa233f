import { execFileSync } from 'node:child_process';
import fs, { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { AtomicFile, writeFileAtomically } from '../../src/formats/atomic-file.js';
import { errorOf } from './expect-error.js';
import { temporaryFolder } from './temporary-folder.js';

const folder = temporaryFolder();
const system = (...command: string[]) => execFileSync('sh', ['-c', '"$@"', 'sh', ...command], { stdio: 'ignore' });
const original = { writeSync: fs.writeSync, fsyncSync: fs.fsyncSync, renameSync: fs.renameSync };
afterEach(() => {
  Object.assign(fs, original);
  syncBuiltinESMExports();
});

function failing(name: keyof typeof original, code: string): void {
  Object.assign(fs, {
    [name]: () => {
      throw Object.assign(new Error(`${code}: made up`), { code });
    },
  });
  syncBuiltinESMExports();
}

test('a file has its name and all of its bytes, or no name', () => {
  const path = join(folder, 'whole');
  const file = new AtomicFile(path);
  file.write(Buffer.from('world'), 6);
  file.write(Buffer.from('hello '), 0);
  expect(existsSync(path)).toBe(false);
  file.commit();
  expect(readFileSync(path, 'utf8')).toBe('hello world');
  file.abort();
  expect(readdirSync(folder)).toEqual(['whole']);
});

test('what an aborted file was to replace stays', () => {
  const path = join(folder, 'stays');
  writeFileAtomically(path, 'old');
  const file = new AtomicFile(path);
  file.write(Buffer.from('new'), 0);
  file.abort();
  expect(readFileSync(path, 'utf8')).toBe('old');
  writeFileAtomically(path, 'new');
  expect(readFileSync(path, 'utf8')).toBe('new');
  expect(readdirSync(folder).filter((name) => name.endsWith('.dsf-tmp'))).toEqual([]);
});

test('temporary files of dead processes are removed, those of living ones stay', () => {
  const living = `.kept.${process.ppid}-0123456789ab.dsf-tmp`;
  for (const name of ['.kept.999999999-0123456789ab.dsf-tmp', living]) writeFileSync(join(folder, name), 'x');
  writeFileAtomically(join(folder, 'kept'), 'y');
  expect(readdirSync(folder).filter((name) => name.startsWith('.kept'))).toEqual([living]);
});

describe.each([
  ['writeSync', 'ENOSPC', 'disk-full'],
  ['writeSync', 'EIO', 'file-unwritable'],
  ['fsyncSync', 'EDQUOT', 'disk-full'],
  ['renameSync', 'EROFS', 'file-unwritable'],
] as const)('%s fails with %s', (call, system, code) => {
  test(`is ${code} and leaves nothing`, () => {
    const inner = join(folder, `${call}-${system}`);
    mkdirSync(inner);
    failing(call, system);
    const error = errorOf(() => writeFileAtomically(join(inner, 'file'), 'data'), code);
    expect(error.data.system).toBe(system);
    expect(readdirSync(inner)).toEqual([]);
  });
});

test('a folder that is not there, or is a file, is file-unwritable', () => {
  writeFileSync(join(folder, 'plain'), '');
  errorOf(() => writeFileAtomically(join(folder, 'nowhere', 'file'), 'x'), 'file-unwritable');
  errorOf(() => writeFileAtomically(join(folder, 'plain', 'file'), 'x'), 'file-unwritable');
});

test('a write that the system cuts short is continued', () => {
  Object.assign(fs, {
    writeSync: (descriptor: number, bytes: Uint8Array, offset: number, length: number, position: number) =>
      original.writeSync(descriptor, bytes, offset, Math.min(length, 3), position),
  });
  syncBuiltinESMExports();
  writeFileAtomically(join(folder, 'short'), '0123456789');
  expect(readFileSync(join(folder, 'short'), 'utf8')).toBe('0123456789');
});

test('a real disk that becomes full', (context) => {
  const small = join(folder, 'small');
  mkdirSync(small);
  try {
    system('mount', '-t', 'tmpfs', '-o', 'size=64k', 'dsf-test', small);
  } catch {
    context.skip('mounting a small file system is not permitted here');
  }
  try {
    writeFileAtomically(join(small, 'first'), 'kept');
    errorOf(() => writeFileAtomically(join(small, 'first'), new Uint8Array(100_000)), 'disk-full');
    expect(readdirSync(small)).toEqual(['first']);
    expect(readFileSync(join(small, 'first'), 'utf8')).toBe('kept');
    system('mount', '-o', 'remount,ro', small);
    errorOf(() => writeFileAtomically(join(small, 'second'), 'x'), 'file-unwritable');
  } finally {
    system('umount', small);
  }
});
