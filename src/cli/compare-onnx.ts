import type { Command } from 'commander';
import { type CnnComparisonEvent, cnnCompareOptionsSchema, compareOnnx } from '../comparison/compare-onnx.js';
import { DoubleSparseError } from '../errors.js';
import { openOnnx } from '../formats/onnx/reader.js';
import { cnnComparisonTable, cnnFailedLine, cnnRowLine, denseLine } from '../report/onnx-comparison.js';
import { cnnLayerLine } from '../report/onnx-compression.js';
import type { CompareFlags } from './compare-language.js';
import { openCalibrationImages } from './compress-onnx.js';
import { parseOptions } from './flags.js';
import { type ImageFlags, openTestImages, preprocessingOf } from './image-flags.js';
import { noticeEngine, noticeSkipped } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';

/** `dsf compare` of an ONNX model. */
export async function compareOnnxModels(
  path: string,
  flags: CompareFlags & ImageFlags,
  command: Command,
): Promise<void> {
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
  process.once('SIGINT', () => process.exit(130));
  const { batchSize } = flags;
  const evaluation = { source: test, labels, batchSize };
  const result = await compareOnnx(model, { source, preprocessing, batchSize }, evaluation, options, keep, progressTo);
  const { dense, calibration: calibrated } = result;
  noticeSkipped('calibration images', calibrated.skipped, calibrated.images);
  noticeSkipped('test images', dense.evaluation.skipped, dense.evaluation.images);
  printResult(json ? JSON.stringify(result) : cnnComparisonTable(result));
  for (const each of [source, test, model]) each.close();
  if (result.failed.length > 0) process.exitCode = 1;
}

function progressTo(event: CnnComparisonEvent): void {
  if (event.kind === 'dense') say(denseLine(event.row));
  else if (event.kind === 'row') say(cnnRowLine(event.row));
  else if (event.kind === 'failed') say(cnnFailedLine(event.row));
  else if (event.kind === 'evaluated') showStatus(`${event.name}: evaluated on ${event.images} images`);
  else {
    const { event: inner, method, sparsity } = event;
    const text = `${method} at ${sparsity}: ${inner.kind === 'layer' ? cnnLayerLine(inner) : inner.text}`;
    if (inner.kind === 'status' && inner.lasting) say(text);
    else showStatus(text);
  }
}
