import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { DoubleSparseError } from '../errors.js';
import { SafetensorsFile } from '../formats/safetensors/reader.js';
import { SafetensorsWriter } from '../formats/safetensors/writer.js';

/** Where a run stands behind a step. The place in the text follows from the step. */
export interface Progress {
  readonly step: number;
  /** Of the validation text, so far; null before the first look. */
  readonly bestLoss: number | null;
  readonly bestStep: number;
  /** Looks at the validation text since then. */
  readonly looksSince: number;
}

/** The arrays of a run: values, running means of gradients and squares, and the best values where there are any. */
export type StateArrays = Readonly<Record<'values' | 'first' | 'second' | 'best', Float32Array>>;

const names = ['values', 'first', 'second', 'best'] as const;
const progressSchema = z.strictObject({
  step: z.int().nonnegative(),
  bestLoss: z.number().nullable(),
  bestStep: z.int().nonnegative(),
  looksSince: z.int().nonnegative(),
});

/** The checkpoint in the folder of a run. */
export const statePathIn = (folder: string): string => join(folder, 'state.safetensors');

/** Writes a checkpoint of the run. Atomic. @throws DoubleSparseError `disk-full`, `file-unwritable` */
export function writeState(path: string, progress: Progress, arrays: StateArrays): void {
  const tensors = names.map((name) => ({ name, dtype: 'F32' as const, shape: [arrays[name].length] }));
  const writer = new SafetensorsWriter(path, tensors, { progress: JSON.stringify(progress) });
  try {
    for (const name of names) writer.writeFloats(name, arrays[name]);
    writer.commit();
  } catch (error) {
    writer.abort();
    throw error;
  }
}

/**
 * Reads a checkpoint of the run into its arrays; undefined where there is none. Where it is damaged they are as before.
 * @throws DoubleSparseError `file-malformed` when it is damaged or of another model.
 */
export function readState(path: string, arrays: StateArrays): Progress | undefined {
  if (!existsSync(path)) return undefined;
  const file = openState(path);
  try {
    for (const name of names) checkArray(file, name, arrays[name].length);
    const progress = progressOf(file);
    for (const name of names) file.readMatrix(name, (rows, columns) => ({ rows, columns, data: arrays[name] }));
    return progress;
  } finally {
    file.close();
  }
}

function openState(path: string): SafetensorsFile {
  try {
    return new SafetensorsFile(path);
  } catch (error) {
    if (error instanceof DoubleSparseError && error.code === 'file-malformed')
      throw damaged(path, error.message, error);
    throw error;
  }
}

function checkArray({ path, header }: SafetensorsFile, name: string, length: number): void {
  const info = header.tensors.get(name);
  if (!info) throw damaged(path, `${path} has no ${name}`);
  const { dtype, shape } = info;
  if (dtype === 'F32' && shape.length === 1 && shape[0] === length) return;
  throw damaged(path, `${path}: ${name} is ${dtype} of shape [${shape}], not ${length} values in F32`);
}

function progressOf({ path, header }: SafetensorsFile): Progress {
  try {
    return progressSchema.parse(JSON.parse(header.metadata.get('progress') ?? ''));
  } catch (cause) {
    throw damaged(path, `${path}: its header does not say where the run stands`, cause);
  }
}

function damaged(path: string, problem: string, cause?: unknown): DoubleSparseError {
  return new DoubleSparseError('file-malformed', problem, {
    data: { path },
    hint: 'this checkpoint cannot be gone on with: add --force to start over without it',
    cause,
  });
}
