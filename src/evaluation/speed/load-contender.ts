import type { Contender, LoadedContender, SpeedSettings } from './contender.js';

/**
 * Loads a contender in this process. Its kind alone is imported: libraries of others would count as its memory.
 * @throws DoubleSparseError what loading a model of its kind throws
 */
export async function loadContender(contender: Contender, settings: SpeedSettings): Promise<LoadedContender> {
  switch (contender.kind) {
    case 'runtime': {
      const { loadRuntimeContender } = await import('./runtime-contender.js');
      return loadRuntimeContender(contender, settings);
    }
    case 'blas': {
      const { loadBlasContender } = await import('./blas-contender.js');
      return loadBlasContender(contender.path, settings);
    }
    case 'onnxruntime': {
      const { loadOnnxContender } = await import('./onnx-contender.js');
      return loadOnnxContender(contender.path, contender.file, settings);
    }
    case 'transformers': {
      const { loadTransformersContender } = await import('./transformers-contender.js');
      return loadTransformersContender(contender.path, contender.module, settings);
    }
    case 'llama': {
      const { loadLlamaContender } = await import('./llama-contender.js');
      return loadLlamaContender(contender.path, contender.file, contender.module, settings);
    }
  }
}
