import { createHash } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { hashLabelledImages } from '../calibration/images/hash-images.js';
import type { SkippedImage } from '../calibration/images/image-batches.js';
import { OnnxCompressor } from '../compression/cnn/compress-onnx.js';
import type { CnnMethodName } from '../compression/cnn/options.js';
import { verifyModel } from '../compression/cnn/verify-model.js';
import type { Fingerprint } from '../compression/run-folder.js';
import { describeError } from '../errors.js';
import { evaluateImages, type ImageEvaluation } from '../evaluation/evaluate-images.js';
import { makeFolder } from '../formats/make-folder.js';
import type { OnnxModel } from '../formats/onnx/model.js';
import { openOnnx } from '../formats/onnx/reader.js';
import { serializeOnnx, writeOnnx } from '../formats/onnx/writer.js';
import { chooseEngine, createChosenEngine } from '../linalg/engines/select.js';
import type { ComparisonPlace } from './comparison.js';
import { engineOfResult, KeptResult } from './kept-result.js';
import {
  type CnnCompareOptions,
  type CnnComparison,
  type CnnComparisonEvent,
  type CnnComparisonNumbers,
  type CnnComparisonRow,
  type CnnEvaluationImages,
  type CnnFailedRow,
  type CnnTrainingImages,
  type CnnTunedEvaluation,
  cnnRowSchema,
  cnnTunedEvaluationSchema,
} from './onnx-comparison.js';
import { onnxTrainer } from './onnx-trainer.js';
import { type Tuned, TunedModels, type TunedPlace, type Tuning, tunedRow } from './tuned-models.js';

/** Version of what decides the numbers of a row; kept rows of another one are not taken. */
const comparisonVersion = 5;

/** A row to be, and where it is kept. */
interface Target {
  readonly method: CnnMethodName;
  readonly sparsity: number;
  readonly path: string;
  readonly kept: KeptResult<CnnComparisonRow>;
  readonly tuned: KeptTuning | undefined;
}

type KeptTuning = KeptResult<Tuning<CnnTunedEvaluation>>;

/**
 * Compresses an ONNX model by every method at every sparsity, with the same calibration images and corrections, and
 * evaluates all of them and the dense model on the same images, before and after the same fine-tuning if asked for. A row
 * that fails is told with its reason, and the others go on.
 * @param place gets the compressed models as METHOD-SPARSITY.onnx, fine-tuned ones as METHOD-SPARSITY-tuned.onnx, and every
 *   row in a JSON file beside them. Rows that it holds are not computed again, but with `force`.
 * @throws DoubleSparseError of {@link OnnxCompressor}, and of {@link evaluateImages} and {@link finetuneOnnx} for the dense
 *   model; `run-mismatch` before anything is computed when the folder holds rows of other settings and `force` is not set
 */
export async function compareOnnx(
  model: OnnxModel,
  calibration: CnnTrainingImages,
  images: CnnEvaluationImages,
  asked: CnnCompareOptions,
  { folder, keepModels }: ComparisonPlace,
  report: (event: CnnComparisonEvent) => void = () => {},
): Promise<CnnComparison> {
  const { methods, sparsities, force } = asked;
  const names = [...new Set(sparsities)].flatMap((sparsity) =>
    [...new Set(methods)].map((method) => ({ method, sparsity, name: `${method}-${sparsity}` })),
  );
  const rowPath = (name: string): string => join(folder, `${name}.json`);
  // A comparison goes on with the engine it began with.
  const earlier = names.map(({ name }) => engineOfResult(rowPath(name))).find((engine) => engine !== undefined);
  const choice = chooseEngine(asked.engine === 'auto' ? (earlier ?? 'auto') : asked.engine);
  const options = { ...asked, engine: choice.name };
  const common = compressionOptions(options);
  const { source, labels, batchSize } = images;
  const threads = options.threads ?? availableParallelism();
  const { preprocessing } = calibration;
  const evaluate = (each: OnnxModel, name: string): Promise<ImageEvaluation> => {
    const onProgress = (done: number): void => report({ kind: 'evaluated', name, images: done });
    return evaluateImages(each, source, { preprocessing, labels, batchSize, threads, against: model, onProgress });
  };
  makeFolder(folder);
  const compressor = await OnnxCompressor.open(model, calibration, common);
  try {
    const { resources, costs } = compressor;
    const fingerprint = await fingerprintOf(compressor, calibration, images, common);
    const tuning = tunedModels(model, calibration, options, { folder, keepModels, force }, report);
    const targets = names.map(({ method, sparsity, name }): Target => {
      const own = { ...fingerprint, method, sparsity };
      const kept = new KeptResult(rowPath(name), own, cnnRowSchema, force);
      return { method, sparsity, path: join(folder, `${name}.onnx`), kept, tuned: tuning?.kept(name, own) };
    });
    const tunedDense = tuning?.kept('dense', fingerprint);
    const dense: CnnComparisonNumbers = {
      evaluation: await evaluate(model, 'dense'),
      bytes: serializeOnnx(model).byteLength,
      nonzeros: resources.plan.entries,
      multiplyAdds: costs.layers + costs.kept,
    };
    report({ kind: 'dense', row: dense });
    const tune = async (name: string, kept: KeptTuning | undefined, before: OnnxModel): Promise<void> => {
      if (!tuning || !kept) return;
      if (force) kept.discard();
      await tuning.tune(name, kept, before, (path) =>
        withModel(path, async (tuned) => ({ evaluation: await evaluate(tuned, `${name}, fine-tuned`) })),
      );
    };
    // First: a model that cannot be trained is refused before any is compressed.
    await tune('dense', tunedDense, model);
    const rowOf = async ({ method, sparsity, kept, path }: Target): Promise<CnnComparisonRow> => {
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
      // An earlier row must not be seen with this model.
      kept.discard();
      writeOnnx(compressed.model, path);
      return kept.keep(row);
    };
    const done: { readonly row: CnnComparisonRow; readonly tuned: KeptTuning | undefined }[] = [];
    const failed: CnnFailedRow[] = [];
    for (const target of targets) {
      const { method, sparsity, path, kept, tuned } = target;
      const known = !force && existsSync(path) ? kept.value : undefined;
      try {
        const row = known ?? (await rowOf(target));
        done.push({ row, tuned });
        report({ kind: 'row', row });
        if (tuned) await withModel(path, (before) => tune(`${method}-${sparsity}`, tuned, before));
      } catch (error) {
        const row = { method, sparsity, reason: describeError(error) };
        failed.push(row);
        report({ kind: 'failed', row });
      }
      if (!keepModels) rmSync(path, { force: true });
    }
    const { count, skipped } = resources.images;
    return {
      dense: withTuned(dense, tunedDense),
      rows: done.map(({ row, tuned }) => withTuned(row, tuned)),
      failed,
      calibration: { images: count - skipped.length, skipped },
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    };
  } finally {
    await compressor.close();
  }
}

/** For a comparison that asks for it. */
function tunedModels(
  model: OnnxModel,
  calibration: CnnTrainingImages,
  options: CnnCompareOptions,
  place: TunedPlace,
  report: (event: CnnComparisonEvent) => void,
): TunedModels<OnnxModel, CnnTunedEvaluation> | undefined {
  if (options.finetune === 0) return undefined;
  const choice = chooseEngine(options.engine);
  const onSkip = (image: SkippedImage): void => report({ kind: 'skipped', image });
  const trainer = onnxTrainer(model, calibration, options, choice, onSkip);
  return new TunedModels(trainer, cnnTunedEvaluationSchema, place, report);
}

function withTuned<R extends object>(row: R, kept: KeptTuning | undefined): R & { tuned?: Tuned<CnnTunedEvaluation> } {
  const tuned = tunedRow(kept?.value);
  return tuned ? { ...row, tuned } : row;
}

async function withModel<R>(path: string, use: (model: OnnxModel) => Promise<R>): Promise<R> {
  const model = openOnnx(path);
  try {
    return await use(model);
  } finally {
    model.close();
  }
}

/** Those that every compression of a comparison has in common. */
function compressionOptions({
  methods: _methods,
  sparsities: _sparsities,
  finetune: _steps,
  finetuneBatch: _batch,
  finetuneRate: _rate,
  finetuneTeacher: _teacher,
  ...rest
}: CnnCompareOptions) {
  return rest;
}

/** Everything that the rows of a comparison depend on. */
async function fingerprintOf(
  { resources }: OnnxCompressor,
  { preprocessing }: CnnTrainingImages,
  { source, labels }: CnnEvaluationImages,
  { force: _force, threads: _threads, engine, ...options }: ReturnType<typeof compressionOptions>,
): Promise<Fingerprint> {
  const hash = (part: Uint8Array): string => createHash('sha256').update(part).digest('hex');
  const calibration = createHash('sha256');
  for await (const { data } of resources.images.batches())
    calibration.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return {
    version: comparisonVersion,
    model: hash(serializeOnnx(resources.model)),
    calibration: calibration.digest('hex'),
    evaluation: hashLabelledImages(source, labels),
    preprocessing,
    engine,
    engineDescription: createChosenEngine(chooseEngine(engine)).description,
    options,
  };
}
