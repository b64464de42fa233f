import { DoubleSparseError } from '../../errors.js';
import { IdxFile } from './idx-file.js';
import { type ImageSource, numberNames } from './image-source.js';

const unsignedByte = 8;
/** MNIST and its kin have 28 x 28. */
const maximumPixels = 1 << 25;

/**
 * The gray images of an IDX file: N x H x W unsigned bytes.
 * @throws DoubleSparseError of {@link IdxFile}; `file-unsupported` for another shape or type
 */
export function openIdxImages(path: string): ImageSource {
  const file = new IdxFile(path);
  const [count, height, width] = file.shape as [number, number, number];
  const pixels = height * width;
  if (file.shape.length !== 3 || file.type !== unsignedByte || count === 0 || pixels === 0 || pixels > maximumPixels) {
    file.close();
    throw new DoubleSparseError(
      'file-unsupported',
      `${path}: [${file.shape}] values of IDX type ${file.type} are no images`,
      {
        data: { path, shape: file.shape, type: file.type },
        hint: 'images are N x H x W unsigned bytes; a file of labels has one dimension',
      },
    );
  }
  return {
    path,
    names: numberNames(count),
    channels: 1,
    read: (index) => ({ height, width, channels: 1, data: file.read(index, 1) }),
    close: () => file.close(),
  };
}
