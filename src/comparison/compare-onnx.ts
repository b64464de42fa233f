import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { hashImages } from '../calibration/images/hash-images.js';
import type { SkippedImage } from '../calibration/images/image-batches.js';
import type { ImageSource } from '../calibration/images/image-source.js';
import type { CnnCalibration } from '../compression/cnn/cnn-resources.js';
import type { CnnEvent } from '../compression/cnn/cnn-run.js';
import { OnnxCompressor } from '../compression/cnn/compress-onnx.js';
import { type CnnMethodName, cnnMethodNames, cnnSharedOptionsSchema } from '../compression/cnn/options.js';
import { verifyModel } from '../compression/cnn/verify-model.js';
import type { Fingerprint } from '../compression/run-folder.js';
import { describeError } from '../errors.js';
import { evaluateImages, type ImageEvaluation } from '../evaluation/evaluate-images.js';
import { makeFolder } from '../formats/make-folder.js';
import type { OnnxModel } from '../formats/onnx/model.js';
import { serializeOnnx, writeOnnx } from '../formats/onnx/writer.js';
import { chooseEngine, createChosenEngine } from '../linalg/engines/select.js';
import { KeptResult } from './kept-result.js';

/** Version of what decides the numbers of a row; kept rows of another one are not taken. */
const comparisonVersion = 3;

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

const rowSchema = z.object({
  method: z.enum(cnnMethodNames),
  sparsity: z.number(),
  evaluation: z.custom<ImageEvaluation>((value) => typeof value === 'object' && value !== null),
  bytes: z.number(),
  nonzeros: z.number(),
  multiplyAdds: z.number(),
  /** Of a run by itself: what rows share counts in each. */
  seconds: z.number(),
  /** How many layers each method of `auto` got. */
  layers: z.record(z.string(), z.number()),
});
export type CnnComparisonRow = CnnComparisonNumbers & Readonly<z.output<typeof rowSchema>>;

/** A row that came to nothing. */
export interface CnnFailedRow {
  readonly method: CnnMethodName;
  readonly sparsity: number;
  readonly reason: string;
}

export interface CnnComparison {
  readonly dense: CnnComparisonNumbers;
  readonly rows: readonly CnnComparisonRow[];
  readonly failed: readonly CnnFailedRow[];
  /** Images that were calibrated on, and those that could not be read. Those of the evaluation are in each of its results. */
  readonly calibration: { readonly images: number; readonly skipped: readonly SkippedImage[] };
  /** Of the process, all rows together. */
  readonly peakMemoryBytes: number;
}

export type CnnComparisonEvent =
  | { kind: 'dense'; row: CnnComparisonNumbers }
  | { kind: 'row'; row: CnnComparisonRow }
  | { kind: 'failed'; row: CnnFailedRow }
  | { kind: 'evaluated'; name: string; images: number }
  | { kind: 'run'; method: CnnMethodName; sparsity: number; event: CnnEvent };

/**
 * Compresses an ONNX model by every method at every sparsity, with the same calibration images and corrections, and
 * evaluates all of them and the dense model on the same images. A row that fails is told with its reason, and the others
 * go on.
 * @param folder gets the compressed models as METHOD-SPARSITY.onnx, if given, and every row in a JSON file beside them.
 *   Rows that it holds are not computed again, but with `force`.
 * @throws DoubleSparseError of {@link OnnxCompressor}, and of {@link evaluateImages} for the dense model; `run-mismatch`
 *   before anything is computed when the folder holds rows of other settings and `force` is not set
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
  const evaluate = (each: OnnxModel, name: string): Promise<ImageEvaluation> => {
    const onProgress = (done: number): void => report({ kind: 'evaluated', name, images: done });
    return evaluateImages(each, source, { preprocessing, labels, batchSize, threads, against: model, onProgress });
  };
  if (folder !== undefined) makeFolder(folder);
  const compressor = await OnnxCompressor.open(model, calibration, common);
  try {
    const { resources, costs } = compressor;
    const fingerprint = await fingerprintOf(compressor, calibration, images, options);
    const targets = [...new Set(sparsities)].flatMap((sparsity) =>
      [...new Set(methods)].map((method): Target => {
        if (folder === undefined) return { method, sparsity };
        const path = join(folder, `${method}-${sparsity}`);
        const own = { ...fingerprint, method, sparsity };
        const kept = new KeptResult(`${path}.json`, own, rowSchema, options.force);
        return { method, sparsity, place: { kept, path: `${path}.onnx` } };
      }),
    );
    const dense: CnnComparisonNumbers = {
      evaluation: await evaluate(model, 'dense'),
      bytes: serializeOnnx(model).byteLength,
      nonzeros: resources.plan.entries,
      multiplyAdds: costs.layers + costs.kept,
    };
    report({ kind: 'dense', row: dense });
    const rowOf = async ({ method, sparsity, place }: Target): Promise<CnnComparisonRow> => {
      const own = { ...common, method, sparsity };
      const compressed = await compressor.compress(own, (event) => report({ kind: 'run', method, sparsity, event }));
      const name = `${method} at ${sparsity}`;
      await verifyModel(resources, compressed, name);
      const { layers } = compressed;
      const counts: Record<string, number> = {};
      for (const { method: each = 'dense' } of layers) counts[each] = (counts[each] ?? 0) + 1;
      const row = {
        method,
        sparsity,
        evaluation: await evaluate(compressed.model, name),
        bytes: serializeOnnx(compressed.model).byteLength,
        nonzeros: layers.reduce((sum, { nonzeros }) => sum + nonzeros, 0),
        multiplyAdds: compressor.multiplyAdds(layers),
        seconds: compressed.seconds,
        layers: counts,
      };
      if (place) {
        // An earlier row must not be seen with this model.
        place.kept.discard();
        writeOnnx(compressed.model, place.path);
        place.kept.keep(row);
      }
      return row;
    };
    const rows: CnnComparisonRow[] = [];
    const failed: CnnFailedRow[] = [];
    for (const target of targets) {
      const { method, sparsity, place } = target;
      const known = !options.force && place && existsSync(place.path) ? place.kept.value : undefined;
      try {
        const row = known ?? (await rowOf(target));
        rows.push(row);
        report({ kind: 'row', row });
      } catch (error) {
        const row = { method, sparsity, reason: describeError(error) };
        failed.push(row);
        report({ kind: 'failed', row });
      }
    }
    const { count, skipped } = resources.images;
    return {
      dense,
      rows,
      failed,
      calibration: { images: count - skipped.length, skipped },
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    };
  } finally {
    await compressor.close();
  }
}

/** A row to be. */
interface Target {
  readonly method: CnnMethodName;
  readonly sparsity: number;
  /** Where it is kept. */
  readonly place?: { readonly kept: KeptResult<CnnComparisonRow>; readonly path: string };
}

/** Everything that the rows of a comparison depend on. */
async function fingerprintOf(
  { resources }: OnnxCompressor,
  { preprocessing }: CnnCalibration,
  { source, labels }: CnnEvaluationImages,
  { methods: _methods, sparsities: _sparsities, force: _force, threads: _threads, ...options }: CnnCompareOptions,
): Promise<Fingerprint> {
  const hash = (part: Uint8Array | string): string => createHash('sha256').update(part).digest('hex');
  const calibration = createHash('sha256');
  for await (const { data } of resources.images.batches())
    calibration.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return {
    version: comparisonVersion,
    model: hash(serializeOnnx(resources.model)),
    calibration: calibration.digest('hex'),
    evaluation: hash(JSON.stringify([hashImages(source), labels ? Array.from(labels) : []])),
    preprocessing,
    engine: createChosenEngine(chooseEngine(options.engine)).description,
    options,
  };
}
