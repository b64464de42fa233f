import { DoubleSparseError } from '../../errors.js';
import { IdxFile } from './idx-file.js';
import { NpyFile } from './npy-file.js';

type Reader = (view: DataView, index: number) => number;

const idxReaders: Readonly<Record<number, Reader>> = {
  8: (view, i) => view.getUint8(i),
  9: (view, i) => view.getInt8(i),
  11: (view, i) => view.getInt16(2 * i),
  12: (view, i) => view.getInt32(4 * i),
};

const npyReaders: Readonly<Record<string, Reader>> = {
  '|u1': (view, i) => view.getUint8(i),
  '|i1': (view, i) => view.getInt8(i),
  '<u2': (view, i) => view.getUint16(2 * i, true),
  '<i2': (view, i) => view.getInt16(2 * i, true),
  '<u4': (view, i) => view.getUint32(4 * i, true),
  '<i4': (view, i) => view.getInt32(4 * i, true),
  '<i8': (view, i) => Number(view.getBigInt64(8 * i, true)),
};

/**
 * The numbers of classes in an IDX or .npy file of one dimension.
 * @throws DoubleSparseError of {@link IdxFile} and {@link NpyFile}; `shape-mismatch` for more dimensions,
 *   `file-unsupported` for floats, `file-malformed` for a number that is no class
 */
export function readClassNumbers(path: string, kind: 'idx' | 'npy'): Int32Array {
  const file = kind === 'idx' ? new IdxFile(path) : new NpyFile(path);
  try {
    const { shape, type } = file;
    if (shape.length !== 1) {
      throw new DoubleSparseError('shape-mismatch', `${path} has the shape [${shape}]: labels have one dimension`, {
        data: { path, shape },
        hint: 'is it the file of the images?',
      });
    }
    const read = typeof type === 'number' ? idxReaders[type] : npyReaders[type];
    if (!read) {
      throw new DoubleSparseError('file-unsupported', `${path} holds ${type}: labels are integers`, {
        data: { path, type },
      });
    }
    const bytes = file.read(0, shape[0] as number);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Int32Array.from({ length: shape[0] as number }, (_, i) => checked(path, i, read(view, i)));
  } finally {
    file.close();
  }
}

function checked(path: string, index: number, value: number): number {
  if (value >= 0 && value < 2 ** 31) return value;
  throw new DoubleSparseError('file-malformed', `${path}: label ${index} is ${value}, no number of a class`, {
    data: { path, index, value },
  });
}
