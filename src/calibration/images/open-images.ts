import { statSync } from 'node:fs';
import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { PositionalFile, unreadable } from '../../formats/positional-file.js';
import { isGzip, isIdx } from './idx-file.js';
import { openIdxImages } from './idx-images.js';
import { openImageFolder } from './image-folder.js';
import type { ImageSource } from './image-source.js';
import { type ArrayLayout, openNpyImages, openNpyTensors } from './npy-images.js';

/**
 * Opens a folder of PNG, JPEG and WebP files, a .npy array, or an IDX file (plain or .gz), by content.
 * @param layout of a .npy array, see {@link openNpyImages}.
 * @throws DoubleSparseError `file-unreadable`, `file-unsupported`, `file-malformed`, `not-found` (empty folder)
 */
export function openImages(path: string, layout?: ArrayLayout): ImageSource {
  let isFolder: boolean;
  try {
    isFolder = statSync(path).isDirectory();
  } catch (cause) {
    throw unreadable(path, cause);
  }
  if (isFolder) return openImageFolder(path);
  const kind = arrayKind(path);
  if (kind === 'npy') return openNpyImages(path, layout);
  if (kind === 'idx') return openIdxImages(path);
  throw new DoubleSparseError('file-unsupported', `${path} is neither a folder, nor a .npy or IDX file`, {
    data: { path },
    hint: 'give the folder in which the images are',
  });
}

/**
 * What a model is run on: images, see {@link openImages}, where its input has four dimensions or does not say; else a
 * .npy array, taken as it is.
 * @throws DoubleSparseError those of {@link openImages}; `file-unsupported` for images where the model takes none
 */
export function openModelImages(model: OnnxModel, path: string, layout?: ArrayLayout): ImageSource {
  const dims = inputDimensions(model);
  if (dims === undefined || dims === 4) return openImages(path, layout);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true && arrayKind(path) === 'npy')
    return openNpyTensors(path);
  throw new DoubleSparseError(
    'file-unsupported',
    `the input of ${model.path} has ${dims} dimensions: it takes no images as ${path} has them`,
    { data: { path: model.path, images: path, dimensions: dims }, hint: 'give a .npy array of as many dimensions' },
  );
}

function inputDimensions({ inputs, initializers }: OnnxModel): number | undefined {
  const type = inputs.find(({ message }) => !initializers.has(message.name))?.message.type?.value;
  return type?.case === 'tensorType' ? type.value.shape?.dim.length : undefined;
}

/** What an array file is by its first bytes. @throws DoubleSparseError `file-unreadable` */
export function arrayKind(path: string): 'npy' | 'idx' | undefined {
  const file = new PositionalFile(path);
  try {
    const head = Buffer.alloc(Math.min(6, file.size));
    file.readFully(head, 0);
    if (head.toString('latin1') === '\x93NUMPY') return 'npy';
    return isGzip(head) || isIdx(head) ? 'idx' : undefined;
  } finally {
    file.close();
  }
}
