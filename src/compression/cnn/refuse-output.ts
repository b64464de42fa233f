import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DoubleSparseError } from '../../errors.js';
import { writeError } from '../../formats/atomic-file.js';
import type { OnnxModel } from '../../formats/onnx/model.js';

/**
 * Refuses an output that could not be written at the end.
 * @throws DoubleSparseError `file-exists` (there and not forced, or the source), `file-unwritable` (a folder; no folder
 *   around it, or one that may not be written to)
 */
export function refuseOutput({ path }: OnnxModel, out: string, force: boolean): void {
  const existing = (problem: string, hint: string): DoubleSparseError =>
    new DoubleSparseError('file-exists', `${out} ${problem}`, { data: { path: out }, hint });
  if (resolve(path) === resolve(out)) throw existing('is the source model itself', 'give another name with --out');
  const found = statSync(out, { throwIfNoEntry: false });
  if (found && !force) throw existing('exists', 'give another name with --out, or add --force to replace it');
  if (found && !found.isFile()) throw writeError(out, new Error('it is no file'));
  try {
    readdirSync(dirname(resolve(out)));
    accessSync(dirname(resolve(out)), constants.W_OK);
  } catch (cause) {
    throw writeError(out, cause);
  }
}
