import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { writeError } from './atomic-file.js';

/**
 * Makes a folder and those above it, one after the other: where the system refuses with "no such file", as under /proc,
 * Node's own recursion never ends.
 * @throws DoubleSparseError `file-unwritable`, `disk-full`
 */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  for (let folder = resolve(path); !isFolder(folder); folder = dirname(folder)) missing.unshift(folder);
  for (const folder of missing) {
    try {
      mkdirSync(folder);
    } catch (cause) {
      // Another process may have made it meanwhile.
      if (!isFolder(folder)) throw writeError(folder, cause);
    }
  }
}

/** The root of all folders counts as one, whatever the system says of it. */
function isFolder(path: string): boolean {
  try {
    return dirname(path) === path || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  } catch {
    // Something on the way is no folder: making it says so.
    return false;
  }
}
