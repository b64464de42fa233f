import { loadBlasContender } from './blas-contender.js';
import type { Contender, LoadedContender, SpeedSettings } from './contender.js';
import { loadOnnxContender } from './onnx-contender.js';
import { loadRuntimeContender } from './runtime-contender.js';

/** Loads a contender in this process. @throws DoubleSparseError what loading a model of its kind throws */
export function loadContender(contender: Contender, settings: SpeedSettings): Promise<LoadedContender> {
  switch (contender.kind) {
    case 'runtime':
      return loadRuntimeContender(contender.path, settings);
    case 'blas':
      return loadBlasContender(contender.path, settings);
    case 'onnxruntime':
      return loadOnnxContender(contender.path, contender.file, settings);
  }
}
