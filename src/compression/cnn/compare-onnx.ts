import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { ImageSource } from '../../calibration/images/image-source.js';
import { evaluateImages, type ImageEvaluation } from '../../evaluation/evaluate-images.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { serializeOnnx, writeOnnx } from '../../formats/onnx/writer.js';
import type { CnnCalibration } from './cnn-resources.js';
import type { CnnEvent } from './cnn-run.js';
import { OnnxCompressor, verifyModel } from './compress-onnx.js';
import { type CnnMethodName, cnnMethodNames, cnnSharedOptionsSchema } from './options.js';

export const cnnCompareOptionsSchema = cnnSharedOptionsSchema.extend({
  methods: z.array(z.enum(cnnMethodNames)).min(1).default(['auto', 'obc', 'admm', 'magnitude', 'low-rank']),
  sparsities: z.array(z.number().min(0).lt(1)).min(1).default([0.5]),
});
export type CnnCompareOptions = z.output<typeof cnnCompareOptionsSchema>;

export interface CnnEvaluationImages {
  readonly source: ImageSource;
  /** Without them the outputs are compared with those of the dense model. */
  readonly labels: ArrayLike<number> | undefined;
  readonly batchSize: number | undefined;
}

interface CnnComparisonNumbers {
  readonly evaluation: ImageEvaluation;
  /** Of the model file. */
  readonly bytes: number;
  /** Of all layers that are compressed. */
  readonly nonzeros: number;
  /** For one image, kept layers included. */
  readonly multiplyAdds: number;
}

export interface CnnComparisonRow extends CnnComparisonNumbers {
  readonly method: CnnMethodName;
  readonly sparsity: number;
  /** Of a run by itself: what rows share counts in each. */
  readonly seconds: number;
  /** How many layers each method of `auto` got. */
  readonly layers: Readonly<Record<string, number>>;
}

export interface CnnComparison {
  readonly dense: CnnComparisonNumbers;
  readonly rows: readonly CnnComparisonRow[];
  /** Of the process, all rows together. */
  readonly peakMemoryBytes: number;
}

export type CnnComparisonEvent =
  | { kind: 'dense'; row: CnnComparisonNumbers }
  | { kind: 'row'; row: CnnComparisonRow }
  | { kind: 'run'; method: CnnMethodName; sparsity: number; event: CnnEvent };

/**
 * Compresses an ONNX model by every method at every sparsity, with the same calibration images and corrections, and
 * evaluates all of them and the dense model on the same images.
 * @param folder gets the compressed models as METHOD-SPARSITY.onnx, if given.
 * @throws DoubleSparseError of {@link OnnxCompressor} and {@link evaluateImages}
 */
export async function compareOnnx(
  model: OnnxModel,
  calibration: CnnCalibration,
  images: CnnEvaluationImages,
  options: CnnCompareOptions,
  folder: string | undefined,
  report: (event: CnnComparisonEvent) => void = () => {},
): Promise<CnnComparison> {
  const { methods, sparsities, ...common } = options;
  const { source, labels, batchSize } = images;
  const threads = options.threads ?? availableParallelism();
  const { preprocessing } = calibration;
  const evaluate = (each: OnnxModel): Promise<ImageEvaluation> =>
    evaluateImages(each, source, { preprocessing, labels, batchSize, threads, against: model });
  if (folder !== undefined) mkdirSync(folder, { recursive: true });
  const compressor = await OnnxCompressor.open(model, calibration, common);
  try {
    const { resources, costs } = compressor;
    const dense: CnnComparisonNumbers = {
      evaluation: await evaluate(model),
      bytes: serializeOnnx(model).byteLength,
      nonzeros: resources.plan.entries,
      multiplyAdds: costs.layers + costs.kept,
    };
    report({ kind: 'dense', row: dense });
    const rows: CnnComparisonRow[] = [];
    for (const sparsity of new Set(sparsities)) {
      for (const method of new Set(methods)) {
        const own = { ...common, method, sparsity };
        const compressed = await compressor.compress(own, (event) => report({ kind: 'run', method, sparsity, event }));
        await verifyModel(resources, compressed, `${method} at ${sparsity}`);
        if (folder !== undefined) writeOnnx(compressed.model, join(folder, `${method}-${sparsity}.onnx`));
        const { layers } = compressed;
        const counts = new Map<string, number>();
        for (const each of layers) counts.set(each.method ?? 'dense', (counts.get(each.method ?? 'dense') ?? 0) + 1);
        const row: CnnComparisonRow = {
          method,
          sparsity,
          evaluation: await evaluate(compressed.model),
          bytes: serializeOnnx(compressed.model).byteLength,
          nonzeros: layers.reduce((sum, { nonzeros }) => sum + nonzeros, 0),
          multiplyAdds: compressor.multiplyAdds(layers),
          seconds: compressed.seconds,
          layers: Object.fromEntries(counts),
        };
        rows.push(row);
        report({ kind: 'row', row });
      }
    }
    return { dense, rows, peakMemoryBytes: process.resourceUsage().maxRSS * 1024 };
  } finally {
    await compressor.close();
  }
}
