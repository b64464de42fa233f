import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { ImageSource } from './image-source.js';

/** Headers and first pixels, beside size and time: enough to tell image files apart without reading all of them. */
const headBytes = 4096;

/**
 * What tells a set of images from every other: names, and the values of arrays; of image files the size, the time of the
 * last change and the first 4 KB, so that they are not read whole.
 * @returns SHA-256 in hexadecimal.
 * @throws DoubleSparseError of reading arrays
 */
export function hashImages(source: ImageSource): string {
  const hash = createHash('sha256');
  for (const [index, name] of source.names.entries()) {
    const image = source.read(index);
    hash.update(`${JSON.stringify(name)}\n`);
    if ('file' in image) addFile(hash, image.file);
    else {
      const { height, width, channels, data } = image;
      hash.update(`${height},${width},${channels}\n`);
      hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
  }
  return hash.digest('hex');
}

/** The same of a set with its classes, if there are any. */
export function hashLabelledImages(source: ImageSource, labels: ArrayLike<number> | undefined): string {
  const content = JSON.stringify([hashImages(source), labels ? Array.from(labels) : []]);
  return createHash('sha256').update(content).digest('hex');
}

/** A file that cannot be read is skipped where images are used, and is part of the set all the same. */
function addFile(hash: Hash, path: string): void {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const { size, mtimeMs } = fstatSync(descriptor);
    const head = new Uint8Array(Math.min(headBytes, size));
    hash.update(`${size},${mtimeMs}\n`).update(head.subarray(0, readSync(descriptor, head, 0, head.byteLength, 0)));
  } catch (error) {
    hash.update(`unreadable: ${(error as NodeJS.ErrnoException).code}\n`);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
