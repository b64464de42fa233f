import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { evaluateImages } from '../evaluation/evaluate-images.js';
import { openOnnx } from '../formats/onnx/reader.js';
import { imageEvaluationText } from '../report/image-evaluation.js';
import { formatSeconds } from '../report/table.js';
import { type ImageFlags, openTestImages, preprocessingOf } from './image-flags.js';
import { noticeSkipped } from './notices.js';
import { printResult, say, showStatus } from './terminal.js';

/** `dsf eval` of an ONNX model: accuracy, output parity with the model that it was made from, or both. */
export async function evaluateOnImages(
  path: string,
  flags: ImageFlags & { images: string; against?: string; threads?: number | undefined; json?: boolean },
  command: Command,
): Promise<void> {
  const { against: againstPath, threads = availableParallelism(), batchSize, json = false } = flags;
  const preprocessing = preprocessingOf(command);
  const model = openOnnx(path);
  const { source, labels } = openTestImages(model, flags);
  const against = againstPath === undefined ? undefined : openOnnx(againstPath);
  const total = source.names.length;
  const onProgress = (images: number) => showStatus(`${images} of ${total} images`);
  const options = { preprocessing, labels, against, batchSize, threads, onProgress };
  const result = await evaluateImages(model, source, options);
  for (const each of [source, model, against]) each?.close();
  const { skipped, seconds, modelSeconds } = result;
  noticeSkipped('images', skipped, result.images);
  say(`${result.images} images in ${formatSeconds(seconds)}, ${formatSeconds(modelSeconds)} of it inside the model`);
  printResult(json ? JSON.stringify(result) : imageEvaluationText(result));
}
