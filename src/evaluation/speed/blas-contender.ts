import koffi from 'koffi';
import { DoubleSparseError } from '../../errors.js';
import { createNativeEngine, findNativeLibrary } from '../../linalg/engines/native.js';
import { openModel } from '../../models/llama/open-model.js';
import { linearNames, linearShape } from '../../models/llama/tensors.js';
import type { LoadedContender, SpeedSettings } from './contender.js';

// cblas.h
const rowMajor = 101;
const noTranspose = 111;

/**
 * sgemv with fp32 weights of the model's shapes.
 * @throws DoubleSparseError `engine-unavailable`; `out-of-memory` when they take more than is free
 */
export async function loadBlasContender(path: string, { threads, tokens }: SpeedSettings): Promise<LoadedContender> {
  const { config, checkpoint } = openModel(path);
  checkpoint.close();
  const block = linearNames.map((name) => linearShape(config, name));
  const shapes = Array.from({ length: config.layers }, () => block).flat();
  shapes.push([config.vocabularySize, config.hiddenSize]);
  requireMemory(shapes.reduce((sum, [rows, columns]) => sum + 4 * rows * columns, 0));
  // Finds the library, and sets its core type before it is loaded.
  const { description } = createNativeEngine();
  const { library } = findNativeLibrary()!;
  const handle = koffi.load(library.file);
  const sgemv = handle.func(
    `void ${library.prefix}cblas_sgemv${library.suffix}(int, int, int, int, float, void *, int, void *, int, float, void *, int)`,
  );
  if (library.setThreads !== undefined) handle.func(`void ${library.setThreads}(int)`)(threads);
  // Pages that were never written would all be one page of zeros in the cache.
  const weights = shapes.map(([rows, columns]) => new Float32Array(rows * columns).fill(0.01));
  const x = new Float32Array(Math.max(...shapes.map(([, columns]) => columns))).fill(0.5);
  const y = new Float32Array(Math.max(...shapes.map(([rows]) => rows)));
  const token = (): void => {
    for (const [i, [rows, columns]] of shapes.entries())
      sgemv(rowMajor, noTranspose, rows, columns, 1, weights[i], columns, x, 1, 0, y, 1);
  };
  token();
  return {
    report: { description, loadSeconds: 0 },
    async round() {
      const start = performance.now();
      for (let i = 0; i < tokens; i++) token();
      const perToken = (performance.now() - start) / tokens;
      return { prompts: [], perToken, residentBytes: process.memoryUsage.rss() };
    },
  };
}

function requireMemory(bytes: number): void {
  const available = process.availableMemory();
  if (bytes <= available) return;
  const [needed, free] = [bytes, available].map((each) => (each / 1e9).toFixed(1));
  throw new DoubleSparseError('out-of-memory', `an fp32 copy of the weights takes ${needed} GB, ${free} GB are free`, {
    data: { bytes, available },
  });
}
