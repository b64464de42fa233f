import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { selectImages } from '../calibration/images/image-batches.js';
import type { ImageSource } from '../calibration/images/image-source.js';
import { openModelImages } from '../calibration/images/open-images.js';
import type { Preprocessing } from '../calibration/images/options.js';
import type { CnnEvent } from '../compression/cnn/cnn-run.js';
import { compressOnnx } from '../compression/cnn/compress-onnx.js';
import { cnnDryRun } from '../compression/cnn/dry-run.js';
import { cnnCompressOptionsSchema } from '../compression/cnn/options.js';
import { refuseOutput } from '../compression/cnn/refuse-output.js';
import { DoubleSparseError } from '../errors.js';
import { evaluateImages, type ImageEvaluation, type ImageEvaluationOptions } from '../evaluation/evaluate-images.js';
import type { OnnxModel } from '../formats/onnx/model.js';
import { openOnnx } from '../formats/onnx/reader.js';
import { imageEvaluationText } from '../report/image-evaluation.js';
import { cnnDryRunTable, cnnLayerLine, cnnSummary } from '../report/onnx-compression.js';
import { inspectOnnx } from '../report/onnx-inspection.js';
import type { CompressFlags } from './compress-language.js';
import { parseOptions } from './flags.js';
import { type ImageFlags, openTestImages, preprocessingOf, type TestImages } from './image-flags.js';
import { endOnInterrupt } from './interrupt.js';
import { noticeEngine, noticeSkipped } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';

/** On so many test images a model is tried before it is compressed. */
const triedImages = 4;

/** `dsf compress` of an ONNX model. */
export async function compressOnnxModel(
  path: string,
  flags: CompressFlags & ImageFlags,
  command: Command,
): Promise<void> {
  const { calibration, dryRun = false, json = false } = flags;
  const out = resolve(flags.out);
  const options = parseOptions(cnnCompressOptionsSchema, flags);
  const preprocessing = preprocessingOf(command);
  const model = openOnnx(path);
  if (dryRun) {
    const plan = cnnDryRun(model, options);
    const { multiplyAdds, uncounted } = await inspectOnnx(model);
    model.close();
    const counts = { multiplyAdds, uncounted };
    return printResult(json ? JSON.stringify({ ...plan, ...counts }) : cnnDryRunTable(plan, options, counts));
  }
  refuseOutput(model, out, options.force);
  let interrupted = 'interrupted; nothing was written';
  endOnInterrupt(() => say(interrupted));
  const source = openCalibrationImages(model, calibration, flags);
  const test = flags.images === undefined ? undefined : openTestImages(model, { ...flags, images: flags.images });
  noticeEngine(options.engine);
  const evaluation = test && new Evaluation(model, test, preprocessing, flags);
  const ready = async (): Promise<void> => evaluation?.evaluateDense();
  const result = await compressOnnx(
    model,
    { source, preprocessing, batchSize: flags.batchSize },
    out,
    options,
    progressTo,
    ready,
  );
  interrupted = `interrupted during the evaluation; ${out} is written`;
  source.close();
  noticeSkipped('calibration images', result.skipped, result.images);
  const text = cnnSummary(result, out);
  if (json) say(text);
  else printResult(text);
  const evaluated = await evaluation?.evaluateCompressed(out);
  test?.source.close();
  if (evaluated) {
    const { dense, compressed } = evaluated;
    noticeSkipped('test images', compressed.skipped, compressed.images);
    const lines = [
      ...(dense ? [`dense: ${imageEvaluationText(dense)}`] : []),
      `compressed: ${imageEvaluationText(compressed)}`,
    ];
    if (!json) printResult(lines.join('\n'));
  }
  if (json) {
    const weights = result.weights.map(({ layer, ...weight }) => ({ ...weight, layer: layer.name }));
    printResult(JSON.stringify({ out, ...result, weights, ...(evaluated && { evaluation: evaluated }) }));
  }
  model.close();
}

/** @throws DoubleSparseError `option-out-of-range` without --calibration */
export function openCalibrationImages(model: OnnxModel, path: string | undefined, { arrayLayout }: ImageFlags) {
  if (path !== undefined) return openModelImages(model, path, arrayLayout);
  throw new DoubleSparseError('option-out-of-range', 'an ONNX model is calibrated on images', {
    data: { option: 'calibration' },
    hint: 'give --calibration: a folder of images, a .npy array or an IDX file; a few hundred are enough, labels are not needed',
  });
}

/** Of the source and of what was made of it, on the same images. */
class Evaluation {
  readonly #model: OnnxModel;
  readonly #source: ImageSource;
  readonly #options: ImageEvaluationOptions;
  #dense: ImageEvaluation | undefined;

  constructor(
    model: OnnxModel,
    { source, labels }: TestImages,
    preprocessing: Preprocessing,
    { batchSize, threads = availableParallelism() }: ImageFlags & { threads?: number | undefined },
  ) {
    this.#model = model;
    this.#source = source;
    const total = source.names.length;
    const onProgress = (images: number): void => showStatus(`evaluated on ${images} of ${total} images`);
    this.#options = { preprocessing, labels, batchSize, threads, onProgress };
  }

  /** Before anything is compressed, so that images or labels of another model are found first. */
  async evaluateDense(): Promise<void> {
    const { labels } = this.#options;
    // Of itself, a model's outputs differ nowhere: without labels one batch tells whether it can be run.
    if (labels) this.#dense = await evaluateImages(this.#model, this.#source, this.#options);
    else {
      const indices = selectImages(this.#source, undefined, 0).slice(0, triedImages);
      await evaluateImages(this.#model, this.#source, { ...this.#options, indices, against: this.#model });
    }
  }

  /** @returns accuracies where there are labels, and how far the outputs are from those of the source. */
  async evaluateCompressed(out: string): Promise<{ dense?: ImageEvaluation; compressed: ImageEvaluation }> {
    const written = openOnnx(out);
    try {
      const compressed = await evaluateImages(written, this.#source, { ...this.#options, against: this.#model });
      return { ...(this.#dense && { dense: this.#dense }), compressed };
    } finally {
      written.close();
    }
  }
}

function progressTo(event: CnnEvent): void {
  if (event.kind === 'layer') say(cnnLayerLine(event));
  else if (event.lasting) say(event.text);
  else showStatus(event.text);
}
