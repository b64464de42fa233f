import { rmSync } from 'node:fs';
import { basename } from 'node:path';
import { AtomicFile, writeError } from '../atomic-file.js';
import { type Encoding, encodeModel, externalEncoding, inlineEncoding } from './encoding.js';
import { unsupported } from './errors.js';
import type { OnnxModel } from './model.js';
import { maximumModelBytes } from './reader.js';
import { rawTensorBytes, rawTensorSize } from './tensor.js';

/** Smaller tensors stay in the model, as in the onnx package. */
const minimumExternalBytes = 1024;
/** onnxruntime maps a tensor into memory where it starts on a page. */
const pageBytes = 4096;

export interface OnnxWriteOptions {
  /**
   * Puts tensors of 1 KB and more into `NAME.data` beside the model. Default: only when the model would not fit the 2 GB
   * of one file.
   */
  readonly externalData?: boolean;
}

/**
 * Writes a model file, and its data file where there is one; each appears whole or not at all, and the model last. Where
 * the source kept its tensors does not matter.
 * @returns bytes of all files written.
 * @throws DoubleSparseError `file-unsupported` (more than 2 GB without external data), `disk-full`, `file-unwritable`;
 *   those of reading external data.
 */
export function writeOnnx(model: OnnxModel, path: string, options: OnnxWriteOptions = {}): number {
  const inline = encodeInline(model);
  if (!(options.externalData ?? inline.size > maximumModelBytes)) {
    checkSize(inline, path);
    writeWhole(path, inline).commit();
    return inline.size;
  }
  const dataPath = `${path}.data`;
  const data = new AtomicFile(dataPath);
  try {
    const { model: encoding, dataBytes } = writeData(model, data);
    checkSize(encoding, path);
    data.flush();
    const file = writeWhole(path, encoding);
    try {
      // The old model must not be seen with the new data.
      remove(path);
      data.commit();
      file.commit();
    } catch (error) {
      file.abort();
      throw error;
    }
    return encoding.size + dataBytes;
  } catch (error) {
    data.abort();
    throw error;
  }
}

/**
 * The bytes of a model in one piece, external data included.
 * @throws DoubleSparseError `file-unsupported` for more than 2 GB; those of reading external data.
 */
export function serializeOnnx(model: OnnxModel): Uint8Array<ArrayBuffer> {
  const encoding = encodeInline(model);
  checkSize(encoding, model.path);
  const bytes = new Uint8Array(encoding.size);
  let position = 0;
  for (const chunk of encoding.chunks()) {
    bytes.set(chunk, position);
    position += chunk.byteLength;
  }
  return bytes;
}

function encodeInline(model: OnnxModel): Encoding {
  return encodeModel(
    model,
    [...model.initializers.values()].map((initializer) => inlineEncoding(initializer, model)),
  );
}

/** Writes the data of large initializers one after another, and says how the model refers to them. */
function writeData(model: OnnxModel, data: AtomicFile): { model: Encoding; dataBytes: number } {
  let dataBytes = 0;
  const initializers = [...model.initializers.values()].map((initializer) => {
    const { message } = initializer;
    const size = rawTensorSize(message, model) ?? 0;
    const bytes = size < minimumExternalBytes ? undefined : rawTensorBytes(message, model);
    if (!bytes) return inlineEncoding(initializer, model);
    const offset = Math.ceil(dataBytes / pageBytes) * pageBytes;
    data.write(bytes, offset);
    dataBytes = offset + size;
    return externalEncoding(message, basename(data.path), offset, size);
  });
  return { model: encodeModel(model, initializers), dataBytes };
}

function writeWhole(path: string, { chunks }: Encoding): AtomicFile {
  const file = new AtomicFile(path);
  try {
    let position = 0;
    for (const chunk of chunks()) {
      file.write(chunk, position);
      position += chunk.byteLength;
    }
    file.flush();
    return file;
  } catch (error) {
    file.abort();
    throw error;
  }
}

function checkSize({ size }: Encoding, path: string): void {
  if (size <= maximumModelBytes) return;
  throw unsupported(
    path,
    `the model has ${size} bytes, one ONNX file has at most ${maximumModelBytes}`,
    'write it with external data',
  );
}

function remove(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch (cause) {
    throw writeError(path, cause);
  }
}
