import { AtomicFile } from '../atomic-file.js';
import { type Encoding, encodeModel, inlineEncoding } from './encoding.js';
import { unsupported } from './errors.js';
import type { OnnxModel } from './model.js';
import { maximumModelBytes } from './reader.js';

/**
 * Writes a model as one file, whole or not at all. Where the source kept its tensors does not matter.
 * @returns bytes of the file.
 * @throws DoubleSparseError `file-unsupported` (more than 2 GB), `disk-full`, `file-unwritable`; those of reading external
 *   data.
 */
export function writeOnnx(model: OnnxModel, path: string): number {
  const encoding = encodeWhole(model, path);
  const file = new AtomicFile(path);
  try {
    let position = 0;
    for (const chunk of encoding.chunks()) {
      file.write(chunk, position);
      position += chunk.byteLength;
    }
    file.commit();
  } catch (error) {
    file.abort();
    throw error;
  }
  return encoding.size;
}

/**
 * The bytes of a model in one piece, external data included.
 * @throws DoubleSparseError `file-unsupported` for more than 2 GB; those of reading external data.
 */
export function serializeOnnx(model: OnnxModel): Uint8Array<ArrayBuffer> {
  const encoding = encodeWhole(model, model.path);
  const bytes = new Uint8Array(encoding.size);
  let position = 0;
  for (const chunk of encoding.chunks()) {
    bytes.set(chunk, position);
    position += chunk.byteLength;
  }
  return bytes;
}

function encodeWhole(model: OnnxModel, path: string): Encoding {
  const encoding = encodeModel(
    model,
    [...model.initializers.values()].map((initializer) => inlineEncoding(initializer, model)),
  );
  if (encoding.size <= maximumModelBytes) return encoding;
  throw unsupported(
    path,
    `the model has ${encoding.size} bytes, in one piece it may have ${maximumModelBytes} at most`,
    'larger models, also those with their weights in files of their own, are neither run nor written: store weights in half precision, or cut the model into parts',
  );
}
