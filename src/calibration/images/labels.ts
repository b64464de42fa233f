import { DoubleSparseError } from '../../errors.js';
import { readClassNumbers } from './class-numbers.js';
import type { ImageSource } from './image-source.js';
import { readLabelLines } from './label-lines.js';
import { arrayKind } from './open-images.js';

/** The class of every image of a source. */
export interface ImageLabels {
  /** Numbers of classes from 0, one an image of the source. */
  readonly values: Int32Array;
  /** Names of the classes by number, where they have names. */
  readonly classes: readonly string[] | undefined;
}

/**
 * Labels of a source's images, from
 * - an IDX or .npy file of integers, one an image in their order;
 * - a text file with a line `name,label` for each image, in any order; names as in {@link ImageSource.names}, or without
 *   their folders where that is unambiguous. Labels that are not all numbers are names of classes, numbered as sorted;
 * - without a file, the folders of the images: the first part of the path is the class, numbered as sorted.
 * @throws DoubleSparseError `file-unreadable`, `file-malformed`, `file-unsupported`, `shape-mismatch` (another number of
 *   labels than images), `not-found` naming images without a label
 */
export function readLabels(source: ImageSource, path?: string): ImageLabels {
  if (path === undefined) return folderLabels(source);
  const kind = arrayKind(path);
  if (kind === undefined) return textLabels(path, source);
  const values = readClassNumbers(path, kind);
  const images = source.names.length;
  if (values.length === images) return { values, classes: undefined };
  throw new DoubleSparseError(
    'shape-mismatch',
    `${path} has ${values.length} labels for the ${images} images of ${source.path}`,
    { data: { path, labels: values.length, images }, hint: 'do both files belong together?' },
  );
}

/**
 * Does every image lie in a folder that can be its class? It takes two folders or more: all images in one are a set, not
 * a class.
 */
export function hasClassFolders({ names }: ImageSource): boolean {
  const folders = new Set(names.map((name) => name.slice(0, Math.max(0, name.indexOf('/')))));
  return folders.size > 1 && !folders.has('');
}

function folderLabels({ path, names }: ImageSource): ImageLabels {
  const folders = names.map((name) => {
    const end = name.indexOf('/');
    if (end > 0) return name.slice(0, end);
    throw new DoubleSparseError('not-found', `${path}: the image ${name} is in no folder that would be its class`, {
      data: { path, name },
      hint: 'put images into a folder a class, or give a file with --labels',
    });
  });
  return numbered(folders, folders);
}

/** @param all names of classes, of which those of the images may be a part. */
function numbered(all: Iterable<string>, ofImages: readonly string[]): ImageLabels {
  const classes = [...new Set(all)].sort();
  const numbers = new Map(classes.map((name, number) => [name, number]));
  return { values: Int32Array.from(ofImages, (name) => numbers.get(name) as number), classes };
}

const withoutFolders = (name: string): string => name.slice(name.lastIndexOf('/') + 1);

function textLabels(path: string, { names }: ImageSource): ImageLabels {
  const labels = readLabelLines(path);
  const byFile = labelsByFile(labels);
  // Of two images with one file name, neither can be meant by it alone.
  const files = new Map<string, number>();
  for (const name of names) files.set(withoutFolders(name), (files.get(withoutFolders(name)) ?? 0) + 1);
  const found = names.map((name) => {
    const file = withoutFolders(name);
    return labels.get(name) ?? (files.get(file) === 1 ? byFile.get(file) : undefined);
  });
  const missing = names.filter((_, index) => found[index] === undefined);
  if (missing.length > 0) {
    throw new DoubleSparseError(
      'not-found',
      `${path} has no label for ${missing.length} of ${names.length} images, the first ${missing[0]}`,
      {
        data: { path, count: missing.length, names: missing.slice(0, 100) },
        hint: 'lines are name,label; where two images have one file name, with their folders',
      },
    );
  }
  const ofImages = found as string[];
  if (![...labels.values()].every((label) => /^\d{1,9}$/.test(label))) return numbered(labels.values(), ofImages);
  return { values: Int32Array.from(ofImages, Number), classes: undefined };
}

/** Labels by names without folders, where only one line has such a name. */
function labelsByFile(labels: ReadonlyMap<string, string>): Map<string, string | undefined> {
  const byFile = new Map<string, string | undefined>();
  for (const [name, label] of labels) {
    const file = withoutFolders(name);
    byFile.set(file, byFile.has(file) ? undefined : label);
  }
  return byFile;
}
