import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { findNativeLibrary } from '../../linalg/engines/native.js';
import { type Rival, rivalNames } from './contender.js';
import { findPackage } from './installed-package.js';

export interface Rivals {
  readonly found: readonly Rival[];
  /** What was looked for and is not here, or cannot be compared, each with the reason. */
  readonly absent: readonly string[];
}

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
  for (const kind of ['transformers', 'llama'] as const) {
    const rival = findPackaged(kind, dense, folder);
    if (typeof rival === 'string') absent.push(`${rivalNames[kind]}: ${rival}`);
    else found.push(rival);
  }
  return { found, absent };
}

/** A rival that a package of the folder runs, or why there is none. */
function findPackaged(kind: 'transformers' | 'llama', dense: string, folder: string): Rival | string {
  const module = findPackage(rivalNames[kind], folder);
  if (module === undefined) return `not installed in ${folder} (npm install ${rivalNames[kind]})`;
  if (kind === 'transformers') {
    const file = join(dense, 'onnx/model.onnx');
    return existsSync(file) ? { kind, path: dense, module } : `no ${file}`;
  }
  const file = findGguf(dense);
  return file === undefined ? `no .gguf file in ${dense}` : { kind, path: dense, file, module };
}

/** The GGUF file that is the model or lies beside it, of 16-bit values where its name says so. */
function findGguf(dense: string): string | undefined {
  if (dense.endsWith('.gguf')) return dense;
  const names = readdirSync(dense)
    .filter((name) => name.endsWith('.gguf'))
    .sort();
  const name = names.find((each) => /f16/i.test(each)) ?? names[0];
  return name === undefined ? undefined : join(dense, name);
}
