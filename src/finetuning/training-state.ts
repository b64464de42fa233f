import { existsSync } from 'node:fs';
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
 * Reads a checkpoint of the run into its arrays; undefined where there is none.
 * @throws DoubleSparseError `file-malformed` when it is damaged or of another model.
 */
export function readState(path: string, arrays: StateArrays): Progress | undefined {
  if (!existsSync(path)) return undefined;
  const malformed = (problem: string): DoubleSparseError =>
    new DoubleSparseError('file-malformed', `${path}: ${problem}`, {
      data: { path },
      hint: 'add --force to start over',
    });
  const file = new SafetensorsFile(path);
  try {
    for (const name of names) {
      const length = file.tensor(name).shape[0];
      if (length !== arrays[name].length) throw malformed(`${name} has ${length} values, not ${arrays[name].length}`);
      file.readMatrix(name, (rows, columns) => ({ rows, columns, data: arrays[name] }));
    }
    return parseProgress(file.header.metadata.get('progress'), malformed);
  } finally {
    file.close();
  }
}

function parseProgress(text: string | undefined, malformed: (problem: string) => DoubleSparseError): Progress {
  try {
    return progressSchema.parse(JSON.parse(text ?? ''));
  } catch {
    throw malformed('its header does not say where the run stands');
  }
}
