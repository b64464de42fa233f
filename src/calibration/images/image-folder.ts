import { readdirSync, realpathSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { DoubleSparseError } from '../../errors.js';
import { unreadable } from '../../formats/positional-file.js';
import type { ImageSource } from './image-source.js';

const extensions = ['.png', '.jpg', '.jpeg', '.webp'];
/** ImageNet has 1.3 million; names of ten million take about a gigabyte. */
const maximumImages = 10_000_000;
const maximumDepth = 64;

/**
 * The PNG, JPEG and WebP files in a folder and its subfolders, sorted by path. Links are followed, but no folder is
 * entered through itself; hidden files and folders are left out.
 * @throws DoubleSparseError `file-unreadable`, `not-found` when there is none
 */
export function openImageFolder(path: string): ImageSource {
  const names: string[] = [];
  walk(path, '', [], names);
  if (names.length === 0) {
    throw new DoubleSparseError('not-found', `${path} holds no image`, {
      data: { path },
      hint: `files ending in ${extensions.join(', ')} are images`,
    });
  }
  names.sort();
  return {
    path,
    names,
    channels: undefined,
    read: (index) => ({ file: join(path, names[index] as string) }),
    close() {},
  };
}

/** @param above real paths of the folders that this one lies in. */
function walk(root: string, folder: string, above: readonly string[], names: string[]): void {
  const path = join(root, folder);
  let entries: import('node:fs').Dirent[];
  let real: string;
  try {
    real = realpathSync(path);
    entries = above.includes(real) || above.length > maximumDepth ? [] : readdirSync(path, { withFileTypes: true });
  } catch (cause) {
    throw unreadable(path, cause);
  }
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
    const target = entry.isSymbolicLink() ? statSync(join(root, name), { throwIfNoEntry: false }) : entry;
    if (target?.isDirectory()) walk(root, name, [...above, real], names);
    else if (target?.isFile() && extensions.includes(extname(name).toLowerCase())) names.push(name);
  }
  if (names.length > maximumImages) {
    throw new DoubleSparseError('option-out-of-range', `${root} holds more than ${maximumImages} images`, {
      data: { path: root, limit: maximumImages },
      hint: 'give a folder with part of them',
    });
  }
}
