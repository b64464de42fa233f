import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { findNativeLibrary } from '../../linalg/engines/native.js';
import { type Rival, rivalNames } from './contender.js';

export interface Rivals {
  readonly found: readonly Rival[];
  /** What was looked for and is not here, or cannot be compared, each with the reason. */
  readonly absent: readonly string[];
}

/** Packages that run language models, and why there is no row of theirs even where they are installed. */
const otherRuntimes: Readonly<Record<string, string>> = {
  '@huggingface/transformers': 'it runs ONNX exports with onnxruntime: see the row of onnxruntime',
  'node-llama-cpp': 'it is installed, but this command has no row for it',
};

/**
 * What else on this machine can run the dense model.
 * @param dense the dense checkpoint's folder or file, or the compressed one's where there is none: then shapes alone
 *   are taken from it.
 * @param folder where packages are looked for (default: the working directory).
 */
export function findRivals(dense: string, folder: string = process.cwd()): Rivals {
  const found: Rival[] = [];
  const absent: string[] = [];
  if (findNativeLibrary()) found.push({ kind: 'blas', path: dense });
  else absent.push(`${rivalNames.blas}: no BLAS library was found (dsf doctor tells where it was looked for)`);
  const file = ['onnx/model.onnx', 'model.onnx'].map((name) => join(dense, name)).find((path) => existsSync(path));
  if (file !== undefined) found.push({ kind: 'onnxruntime', path: dense, file });
  else absent.push(`${rivalNames.onnxruntime}: no onnx/model.onnx in ${dense}`);
  const require = createRequire(join(folder, 'package.json'));
  for (const [name, reason] of Object.entries(otherRuntimes)) {
    absent.push(`${name}: ${isInstalled(require, name) ? reason : 'not installed'}`);
  }
  return { found, absent };
}

function isInstalled(require: NodeJS.Require, name: string): boolean {
  return (require.resolve.paths(name) ?? []).some((path) => existsSync(join(path, name, 'package.json')));
}
