import { accessSync, constants, readdirSync, readFileSync, realpathSync, rmSync, type Stats, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DoubleSparseError } from '../errors.js';
import { writeError, writeFileAtomically } from './atomic-file.js';
import type { Checkpoint } from './checkpoint.js';
import { holdsModel, type ShardedWriter } from './safetensors/sharded-writer.js';

/** Weights in formats that we do not write; and their indices. */
const foreignWeights =
  /\.(safetensors|bin|pt|pth|ckpt|gguf|onnx|onnx_data|h5|msgpack|ot|npz|tflite|mlmodel)$|\.index\.json$/;
/** The largest tokenizer files have 35 MB; anything larger is no side file. */
const maximumSideFileBytes = 256e6;

/**
 * Checks that a model may be written to `folder`; makes nothing.
 * @throws DoubleSparseError `file-exists` when it holds a model and `replace` is not set, or is no folder;
 *   `option-out-of-range` when it is the source itself; `file-unwritable` when it cannot be made or written to.
 */
export function claimModelFolder(folder: string, source: Checkpoint, replace: boolean): void {
  const there = statusOf(folder);
  if (there && realpathSync(folder) === realpathSync(source.path)) {
    throw new DoubleSparseError('option-out-of-range', `${folder} is the model to be read`, {
      data: { folder },
      hint: 'write to another folder',
    });
  }
  if (there && !there.isDirectory()) {
    throw new DoubleSparseError('file-exists', `${folder} is a file, and the model needs a folder`, {
      data: { folder },
      hint: 'choose another name',
    });
  }
  checkWritable(folder);
  if (!replace && there && holdsModel(folder)) {
    throw new DoubleSparseError('file-exists', `${folder} already holds a model`, {
      data: { folder },
      hint: 'choose another folder, or allow it to be replaced (--force)',
    });
  }
}

function statusOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw writeError(path, cause);
  }
}

/** May files or folders be made in the folder, or in the nearest one above it that exists? */
function checkWritable(folder: string): void {
  let nearest = resolve(folder);
  while (!statusOf(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  try {
    accessSync(nearest, constants.W_OK);
  } catch (cause) {
    throw writeError(nearest, cause);
  }
}

/**
 * Gives a written model its files: weights, side files, and config.json last. The folder is a model only while
 * config.json is there, so one that was interrupted is never taken for a whole one.
 * @throws DoubleSparseError `disk-full`, `file-unwritable`
 */
export function commitModelFolder(
  writer: ShardedWriter,
  source: Checkpoint,
  config: Readonly<Record<string, unknown>>,
): void {
  const { folder } = writer;
  writer.flush();
  try {
    rmSync(join(folder, 'config.json'), { force: true });
  } catch (cause) {
    throw writeError(folder, cause);
  }
  writer.commit();
  copySideFiles(source, folder);
  writeFileAtomically(join(folder, 'config.json'), toJson(config));
}

/**
 * Copies what belongs to a model beside weights and config.json (tokenizer, chat template, generation settings,
 * licence, …), byte for byte; for GGUF writes tokenizer.json and tokenizer_config.json from the metadata.
 * @returns names of the files.
 */
function copySideFiles(source: Checkpoint, folder: string): string[] {
  if (source.format === 'gguf') return writeTokenizer(source, folder);
  const names = readdirSync(source.path).filter((name) => {
    if (name === 'config.json' || name.startsWith('.') || foreignWeights.test(name)) return false;
    const status = statSync(join(source.path, name), { throwIfNoEntry: false });
    return status?.isFile() === true && status.size <= maximumSideFileBytes;
  });
  for (const name of names) writeFileAtomically(join(folder, name), readSideFile(join(source.path, name)));
  return names;
}

function readSideFile(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new DoubleSparseError('file-unreadable', `cannot read ${path}: ${(cause as Error).message}`, {
      data: { path },
      cause,
    });
  }
}

function writeTokenizer(source: Checkpoint, folder: string): string[] {
  let files: ReturnType<Checkpoint['tokenizerFiles']>;
  try {
    files = source.tokenizerFiles();
  } catch (error) {
    // A file of weights without a tokenizer is a model all the same.
    if (error instanceof DoubleSparseError && error.code === 'file-unreadable') return [];
    throw error;
  }
  writeFileAtomically(join(folder, 'tokenizer.json'), toJson(files.tokenizer));
  writeFileAtomically(join(folder, 'tokenizer_config.json'), toJson(files.config));
  return ['tokenizer.json', 'tokenizer_config.json'];
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
