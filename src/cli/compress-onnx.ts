import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { openImages } from '../calibration/images/open-images.js';
import type { Preprocessing } from '../calibration/images/options.js';
import type { CnnEvent } from '../compression/cnn/cnn-run.js';
import { compressOnnx } from '../compression/cnn/compress-onnx.js';
import { cnnCompressOptionsSchema } from '../compression/cnn/options.js';
import { planCnn } from '../compression/cnn/planned-layer.js';
import { DoubleSparseError } from '../errors.js';
import { evaluateImages, type ImageEvaluation } from '../evaluation/evaluate-images.js';
import type { OnnxModel } from '../formats/onnx/model.js';
import { openOnnx } from '../formats/onnx/reader.js';
import { imageEvaluationText } from '../report/image-evaluation.js';
import { cnnDryRunTable, cnnLayerLine, cnnSummary } from '../report/onnx-compression.js';
import type { CompressFlags } from './compress-language.js';
import { parseOptions } from './flags.js';
import { type ImageFlags, openLabelledImages, preprocessingOf } from './image-flags.js';
import { noticeEngine } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';

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
    const plan = planCnn(model, options);
    const layers = plan.layers.map(({ layer: { name, kind, rows, columns, groups } }) => ({
      name,
      kind,
      rows,
      columns,
      groups,
    }));
    const { kept, entries } = plan;
    return printResult(json ? JSON.stringify({ layers, kept, entries }) : cnnDryRunTable(plan, options));
  }
  const source = openCalibrationImages(calibration, flags);
  noticeEngine(options.engine);
  process.once('SIGINT', () => {
    say('interrupted; nothing was written');
    process.exit(130);
  });
  const result = await compressOnnx(model, { source, preprocessing }, out, options, progressTo);
  source.close();
  noticeSkipped(result.skipped, result.images);
  const text = cnnSummary(result, out);
  if (json) say(text);
  else printResult(text);
  const evaluation =
    flags.images === undefined
      ? undefined
      : await evaluateBoth(model, out, { ...flags, images: flags.images }, preprocessing);
  if (evaluation && !json) {
    printResult(`dense: ${imageEvaluationText(evaluation.dense)}`);
    printResult(`compressed: ${imageEvaluationText(evaluation.compressed)}`);
  }
  if (json) {
    const weights = result.weights.map(({ layer, ...weight }) => ({ ...weight, layer: layer.name }));
    printResult(JSON.stringify({ out, ...result, weights, ...(evaluation && { evaluation }) }));
  }
  model.close();
}

/** @throws DoubleSparseError `option-out-of-range` without --calibration */
export function openCalibrationImages(path: string | undefined, { arrayLayout }: ImageFlags) {
  if (path !== undefined) return openImages(path, arrayLayout);
  throw new DoubleSparseError('option-out-of-range', 'an ONNX model is calibrated on images', {
    data: { option: 'calibration' },
    hint: 'give --calibration: a folder of images, a .npy array or an IDX file; a few hundred are enough, labels are not needed',
  });
}

function noticeSkipped(skipped: readonly { readonly name: string; readonly reason: string }[], left: number): void {
  if (skipped.length === 0) return;
  say(`${skipped.length} of ${left + skipped.length} calibration images could not be read and were skipped:`);
  for (const { name, reason } of skipped) say(`  ${name}: ${reason}`);
}

/** Accuracies of the source and of what was made of it, on the same images. */
async function evaluateBoth(
  model: OnnxModel,
  out: string,
  flags: ImageFlags & { images: string; threads?: number | undefined },
  preprocessing: Preprocessing,
): Promise<{ dense: ImageEvaluation; compressed: ImageEvaluation }> {
  const { source, labels } = openLabelledImages(flags, true);
  const { batchSize, threads = availableParallelism() } = flags;
  const written = openOnnx(out);
  try {
    const options = { preprocessing, labels, batchSize, threads };
    const dense = await evaluateImages(model, source, options);
    return { dense, compressed: await evaluateImages(written, source, { ...options, against: model }) };
  } finally {
    source.close();
    written.close();
  }
}

function progressTo(event: CnnEvent): void {
  if (event.kind === 'status') showStatus(event.text);
  else say(cnnLayerLine(event));
}
