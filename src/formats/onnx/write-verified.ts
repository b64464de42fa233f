import { readFileSync, rmSync } from 'node:fs';
import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel } from './model.js';
import { parseOnnx } from './reader.js';
import { serializeOnnx, writeOnnx } from './writer.js';

/**
 * Writes the model, reads it back and parses it.
 * @param hint where to write instead, if the disk is failing.
 * @returns bytes of the file.
 * @throws DoubleSparseError `verification-failed`; of {@link writeOnnx}
 */
export function writeVerified(model: OnnxModel, out: string, hint: string): number {
  const size = writeOnnx(model, out);
  const bytes = serializeOnnx(model);
  if (Buffer.compare(readFileSync(out), bytes) === 0) {
    parseOnnx(bytes, out);
    return size;
  }
  rmSync(out, { force: true });
  throw new DoubleSparseError('verification-failed', `${out} was read back with other bytes than were written`, {
    data: { path: out },
    hint: `is the disk failing? ${hint}`,
  });
}
