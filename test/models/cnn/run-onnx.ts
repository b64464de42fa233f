import { InferenceSession, Tensor } from 'onnxruntime-node';
import { decodeFloats, encodeFloats } from '../../../src/formats/dtype.js';
import type { OnnxModel } from '../../../src/formats/onnx/model.js';
import { serializeOnnx } from '../../../src/formats/onnx/writer.js';
import { fillRandom } from '../../helpers.js';

export interface RunResult {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

export type Level = 'disabled' | 'basic' | 'all';

/**
 * Outputs of a model on random inputs, by onnxruntime on one core.
 * @param shapes of its inputs.
 */
export async function runOnnx(
  model: OnnxModel,
  shapes: Readonly<Record<string, readonly number[]>>,
  options: { seed?: number; half?: boolean; level?: Level } = {},
): Promise<Record<string, RunResult>> {
  const { seed = 1, half = false, level = 'all' } = options;
  const session = await InferenceSession.create(serializeOnnx(model), {
    graphOptimizationLevel: level,
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  try {
    const feeds = Object.entries(shapes).map(([name, shape], i) => {
      const values = fillRandom(new Float32Array(shape.reduce((a, b) => a * b, 1)), seed + i);
      return [name, half ? halfTensor(values, shape) : new Tensor('float32', values, shape)] as const;
    });
    const results = await session.run(Object.fromEntries(feeds));
    return Object.fromEntries(
      Object.entries(results).map(([name, { data, dims }]) => {
        const view = data as Float32Array | Uint16Array;
        const values =
          view instanceof Float32Array
            ? view
            : decodeFloats('F16', new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
        return [name, { values, shape: dims }];
      }),
    );
  } finally {
    await session.release();
  }
}

function halfTensor(values: Float32Array, shape: readonly number[]): Tensor {
  const bytes = new Uint8Array(values.length * 2);
  encodeFloats('F16', values, bytes);
  return new Tensor('float16', new Uint16Array(bytes.buffer), shape);
}
