import type { Command } from 'commander';
import type { ImageSource } from '../calibration/images/image-source.js';
import { compareOnnx } from '../comparison/compare-onnx.js';
import { type CnnComparisonEvent, cnnCompareOptionsSchema } from '../comparison/onnx-comparison.js';
import { DoubleSparseError } from '../errors.js';
import { openOnnx } from '../formats/onnx/reader.js';
import { cnnComparisonTable, cnnFailedLine, cnnRowLine, cnnTunedLine, denseLine } from '../report/onnx-comparison.js';
import { cnnLayerLine } from '../report/onnx-compression.js';
import type { CompareFlags } from './compare-language.js';
import { inComparisonFolder } from './comparison-folder.js';
import { openCalibrationImages } from './compress-onnx.js';
import { parseOptions } from './flags.js';
import { type ImageFlags, openTestImages, openTrainingLabels, preprocessingOf } from './image-flags.js';
import { noticeEngine, noticeSkipped } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';
import { showTuning } from './tuning-progress.js';

export type CnnCompareFlags = CompareFlags & ImageFlags & { calibrationLabels?: string };

/** `dsf compare` of an ONNX model. */
export async function compareOnnxModels(path: string, flags: CnnCompareFlags, command: Command): Promise<void> {
  const { calibration, images, keep, json = false } = flags;
  const options = parseOptions(cnnCompareOptionsSchema, flags);
  const preprocessing = preprocessingOf(command);
  if (images === undefined) {
    throw new DoubleSparseError('option-out-of-range', 'ONNX models are compared on images', {
      data: { option: 'images' },
      hint: 'give --images; without labels outputs are compared with those of the dense model',
    });
  }
  const model = openOnnx(path);
  const source = openCalibrationImages(model, calibration, flags);
  const { source: test, labels } = openTestImages(model, { ...flags, images });
  noticeEngine(options.engine);
  const { batchSize } = flags;
  const evaluation = { source: test, labels, batchSize };
  const training = { source, preprocessing, batchSize, labels: trainingLabels(source, flags, options.finetune) };
  await inComparisonFolder(keep, 'finished rows and their models', async (place) => {
    const result = await compareOnnx(model, training, evaluation, options, place, progressTo);
    const { dense, calibration: calibrated } = result;
    noticeSkipped('calibration images', calibrated.skipped, calibrated.images);
    noticeSkipped('test images', dense.evaluation.skipped, dense.evaluation.images);
    printResult(json ? JSON.stringify(result) : cnnComparisonTable(result));
    if (result.failed.length > 0) process.exitCode = 1;
  });
  for (const each of [source, test, model]) each.close();
}

/**
 * Classes of the calibration images, where models are fine-tuned on them.
 * @throws DoubleSparseError `option-out-of-range` for labels that nothing uses
 */
function trainingLabels(
  source: ImageSource,
  { calibrationLabels }: CnnCompareFlags,
  steps: number,
): ArrayLike<number> | undefined {
  if (steps > 0) return openTrainingLabels(source, calibrationLabels, true);
  if (calibrationLabels === undefined) return undefined;
  throw new DoubleSparseError('option-out-of-range', '--calibration-labels without fine-tuning', {
    data: { option: 'calibrationLabels' },
    hint: 'calibration needs no labels: leave them away, or give --finetune STEPS, too',
  });
}

function progressTo(event: CnnComparisonEvent): void {
  if (event.kind === 'dense') say(denseLine(event.row));
  else if (event.kind === 'row') say(cnnRowLine(event.row));
  else if (event.kind === 'failed') say(cnnFailedLine(event.row));
  else if (event.kind === 'tuning') showTuning(event.name, event.event, 'images');
  else if (event.kind === 'tuned') say(cnnTunedLine(event));
  else if (event.kind === 'skipped')
    say(`${event.image.name} could not be read and is not trained on: ${event.image.reason}`);
  else if (event.kind === 'evaluated') showStatus(`${event.name}: evaluated on ${event.images} images`);
  else {
    const { event: inner, method, sparsity } = event;
    const text = `${method} at ${sparsity}: ${inner.kind === 'layer' ? cnnLayerLine(inner) : inner.text}`;
    if (inner.kind === 'status' && inner.lasting) say(text);
    else showStatus(text);
  }
}
