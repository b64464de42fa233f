import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ImageSource } from '../../src/calibration/images/image-source.js';
import { preprocessingSchema } from '../../src/calibration/images/options.js';
import { evaluateImages, type ImageEvaluationOptions } from '../../src/evaluation/evaluate-images.js';
import { parseOnnx } from '../../src/formats/onnx/reader.js';
import { rejectionOf } from '../calibration/expect-rejection.js';
import { buildModel } from '../formats/onnx/build-model.js';
import { temporaryFolder } from '../formats/temporary-folder.js';
import {
  type ClassifierDescription,
  classes,
  classifierModel,
  classifierWeight,
  randomPixels,
  side,
} from './classifier-fixture.js';

const count = 11;
const length = side * side;
const pixels = randomPixels(count, 5);
const broken = join(temporaryFolder(), 'broken.png');
writeFileSync(broken, 'no image');

/** @param damaged numbers of images that are no images. */
const source = (damaged: readonly number[] = []): ImageSource => ({
  path: 'memory',
  names: Array.from({ length: count }, (_, index) => `image ${index}`),
  channels: 1,
  read: (index) =>
    damaged.includes(index)
      ? { file: broken }
      : { height: side, width: side, channels: 1, data: pixels.subarray(index * length, (index + 1) * length) },
  close() {},
});
const open = (description?: ClassifierDescription) => parseOnnx(classifierModel(description), 'model.onnx');
const evaluate = (options: Partial<ImageEvaluationOptions>, description?: ClassifierDescription, images = source()) =>
  evaluateImages(open(description), images, { preprocessing: preprocessingSchema.parse({}), ...options });

/** Logits of all images by plain loops. */
function logitsOf(description?: ClassifierDescription): number[][] {
  const weight = classifierWeight(description);
  return Array.from({ length: count }, (_, image) =>
    Array.from({ length: classes }, (_, row) => {
      let sum = 0;
      for (let i = 0; i < length; i++) sum += weight[row * length + i]! * (pixels[image * length + i]! / 255);
      return sum;
    }),
  );
}
const ranked = logitsOf().map((logits) => logits.map((value, i) => ({ value, i })).sort((a, b) => b.value - a.value));

test('accuracy of labelled images', async () => {
  // Three images whose class is the second, one whose class is the last.
  const labels = ranked.map((rank, image) => rank[image < 3 ? 1 : image === 3 ? classes - 1 : 0]!.i);
  const progress: number[] = [];
  const result = await evaluate({ labels, batchSize: 4, onProgress: (images) => progress.push(images) });
  expect(result).toMatchObject({ images: count, skipped: [], parity: undefined });
  expect(result.accuracy).toMatchObject({ images: count, correct: 7, top1: 7 / count, top5: 10 / count });
  expect(progress).toEqual([4, 8, 11]);
});

test('output parity with another model, output by output, in the same pass', async () => {
  const other = { change: 0.5, second: 'positive' };
  const [expected, actual] = [logitsOf(other).flat(), logitsOf().flat()];
  const against = open(other);
  const labels = new Int32Array(count);
  const result = await evaluate({ against, labels, batchSize: 3 }, { second: 'positive' });
  expect(Object.keys(result.parity!)).toEqual(['logits', 'positive']);
  const worst = Math.max(...expected.map((value, i) => Math.abs(value - actual[i]!)));
  expect(result.parity!.logits!.count).toBe(count * classes);
  expect(result.parity!.logits!.maximumAbsolute).toBeCloseTo(worst, 5);
  expect(result.accuracy!.images).toBe(count);
  const same = await evaluate({ against: open() });
  expect(same).toMatchObject({ images: count, accuracy: undefined });
  expect(same.parity!.logits).toMatchObject({ maximumAbsolute: 0, maximumRelative: 0, meanRelative: 0 });
  expect(same.parity!.logits!.cosine).toBeCloseTo(1, 12);
});

test('a model of a fixed batch size gives the same for the rest of the images', async () => {
  const labels = ranked.map((rank) => rank[0]!.i);
  const result = await evaluate({ labels, against: open() }, { batch: 4 });
  expect(result.accuracy).toMatchObject({ images: count, correct: count });
  expect(result.parity!.logits).toMatchObject({ count: count * classes });
  expect(result.parity!.logits!.maximumAbsolute).toBeLessThan(1e-5);
  await rejectionOf(() => evaluate({ labels, batchSize: 5 }, { batch: 4 }), 'option-out-of-range');
});

test('images that cannot be decoded are skipped and told; chosen images', async () => {
  const labels = ranked.map((rank) => rank[0]!.i);
  const result = await evaluate({ labels }, {}, source([2, 7]));
  expect(result.accuracy).toMatchObject({ images: count - 2, correct: count - 2 });
  expect(result.skipped.map(({ name }) => name)).toEqual(['image 2', 'image 7']);
  expect((await evaluate({ labels, indices: [1, 5] })).images).toBe(2);
  await rejectionOf(
    () => evaluate({ labels }, {}, source(Array.from({ length: count }, (_, i) => i))),
    'file-unreadable',
  );
});

test('refusals', async () => {
  await rejectionOf(() => evaluate({}), 'option-out-of-range');
  await rejectionOf(() => evaluate({ against: open({ second: 'more' }) }), 'unknown-name');
  await rejectionOf(() => evaluate({ labels: new Int32Array(count).fill(classes) }), 'option-out-of-range');
  const preprocessing = preprocessingSchema.parse({ resize: [5, 5] });
  await rejectionOf(() => evaluate({ labels: new Int32Array(count), preprocessing }), 'option-out-of-range');
  const labels = new Int32Array(count);
  for (const inputs of [{ x: [3] }, { x: [1, 1, 4, 4], y: [1, 1, 4, 4] }]) {
    const model = buildModel({ nodes: [{ opType: 'Relu', input: ['x'], output: ['z'] }], inputs, outputs: ['z'] });
    await rejectionOf(
      () => evaluateImages(parseOnnx(model, 'm.onnx'), source(), { preprocessing, labels }),
      'file-unsupported',
    );
  }
});
