import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Fixture } from './smollm2-fixture.js';

/** Python package with three real convolutional networks (text detection, recognition, orientation; Apache-2.0). */
const requirement = 'rapidocr-onnxruntime==1.4.4';

export const rapidocrModels = {
  detection: 'ch_PP-OCRv4_det_infer.onnx',
  recognition: 'ch_PP-OCRv4_rec_infer.onnx',
  orientation: 'ch_ppocr_mobile_v2.0_cls_infer.onnx',
} as const;

/**
 * The folder of the models: DSF_RAPIDOCR_MODELS, else the one in the cache folder (DSF_TEST_CACHE, default in the folder
 * for temporary files), else downloaded into that with pip (15 MB, once).
 */
export function rapidocrFolder(): Fixture {
  const explicit = process.env.DSF_RAPIDOCR_MODELS;
  if (explicit)
    return isWhole(explicit) ? { path: explicit } : { reason: `DSF_RAPIDOCR_MODELS: no models in ${explicit}` };
  const cache = process.env.DSF_TEST_CACHE ?? join(tmpdir(), 'double-sparse-test-cache');
  const path = join(cache, 'rapidocr-1.4.4');
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
      // Other test workers may do the same at the same time: the first renaming wins.
      if (!isWhole(path)) renameSync(join(folder, 'rapidocr_onnxruntime', 'models'), path);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  } catch (error) {
    if (!isWhole(path))
      return { reason: `pip download ${requirement} failed: ${(error as Error).message.slice(0, 300)}` };
  }
  return isWhole(path) ? { path } : { reason: `${requirement} does not hold the models` };
}

function isWhole(folder: string): boolean {
  return Object.values(rapidocrModels).every((name) => existsSync(join(folder, name)));
}
