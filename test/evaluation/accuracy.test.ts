import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { imageBatches, selectImages } from '../../src/calibration/images/image-batches.js';
import { readLabels } from '../../src/calibration/images/labels.js';
import { openImages } from '../../src/calibration/images/open-images.js';
import { preprocessingSchema } from '../../src/calibration/images/options.js';
import { OnnxSession } from '../../src/calibration/onnx-session.js';
import type { Tensor } from '../../src/calibration/tensor.js';
import { accuracy } from '../../src/evaluation/accuracy.js';
import { OutputParity } from '../../src/evaluation/parity.js';
import { rejectionOf } from '../calibration/expect-rejection.js';
import '../helpers.js';
import { sharedData } from '../smollm2-fixture.js';

const batch = (rows: number[][], first = 0) => ({
  images: { dims: [rows.length, rows[0]!.length], data: Float32Array.from(rows.flat()) },
  indices: rows.map((_, i) => first + i),
});
const same = (images: Tensor): Tensor => images;

test('top-1 and top-5 with their standard errors', async () => {
  const down = [7, 6, 5, 4, 3, 2, 1];
  const batches = [batch([down, down, down]), batch([down], 3)];
  const result = await accuracy(batches, [0, 4, 5, 0], same);
  expect(result).toMatchObject({ images: 4, correct: 2, top1: 0.5, top5: 0.75, standardError: 0.25 });
  expect(result.top5StandardError).toBeCloseTo(Math.sqrt((0.75 * 0.25) / 4), 12);
});

test('of equal outputs the first wins; with five classes there is no top-5; dimensions of 1 behind', async () => {
  const outputs = { dims: [2, 3, 1, 1], data: Float32Array.of(1, 1, 0, 1, 1, 0) };
  const result = await accuracy([batch([[0], [0]])], [0, 1], () => outputs);
  expect(result).toMatchObject({ correct: 1, top5: undefined });
});

test('refusals', async () => {
  await rejectionOf(() => accuracy([], [0], same), 'option-out-of-range');
  await rejectionOf(() => accuracy([batch([[1, 2]])], [2], same), 'option-out-of-range');
  await rejectionOf(() => accuracy([batch([[1, 2]], 1)], [0], same), 'option-out-of-range');
  await rejectionOf(() => accuracy([batch([[1, Number.NaN]])], [0], same), 'non-finite-value');
  await rejectionOf(
    () => accuracy([batch([[1, 2]])], [0], () => ({ dims: [1, 2, 3], data: new Float32Array(6) })),
    'shape-mismatch',
  );
});

/** Where Debian's package dataset-fashion-mnist puts its files. */
const fashion = '/usr/share/datasets/fashion-mnist';
const models = sharedData('fmnist');
const slow = process.env.DSF_SLOW_TESTS !== undefined;

describe.skipIf(!models.path || !existsSync(fashion))('Fashion-MNIST', () => {
  const golden = JSON.parse(models.path ? readFileSync(`${models.path}/golden.json`, 'utf8') : '{}').models ?? {};
  const preprocessing = preprocessingSchema.parse({ mean: [0.286], std: [0.353] });

  test.each(Object.keys(golden))('%s', { timeout: 300_000 }, async (name) => {
    const source = openImages(`${fashion}/t10k-images-idx3-ubyte.gz`);
    const labels = readLabels(source, `${fashion}/t10k-labels-idx1-ubyte.gz`);
    const session = await OnnxSession.open(readFileSync(`${models.path}/${name}`), { path: name, threads: 2 });
    const [input] = session.inputs;
    const run = async (images: Tensor): Promise<Tensor> => (await session.run({ [input!.name]: images })).logits!;

    const first = (await imageBatches(source, [0, 1], { preprocessing }).next()).value;
    // The goldens have five decimals.
    expect((await run(first.images)).data).toBeAllclose(golden[name].logitsFirst2.flat(), { atol: 2e-4 });

    const { correctOf10000 } = golden[name];
    const indices = selectImages(source, slow ? undefined : 500, 0);
    const batches = imageBatches(source, indices, {
      preprocessing,
      batchSize: 128,
      size: { channels: 1, height: 28, width: 28 },
    });
    const result = await accuracy(batches, labels.values, run);
    if (slow) expect(result).toMatchObject({ images: 10_000, correct: correctOf10000 });
    else expect(Math.abs(result.top1 - correctOf10000 / 10_000)).toBeLessThan(4 * result.standardError);
    await session.close();
    source.close();
  });

  test('batch normalisation kept and folded give the same outputs', async () => {
    const source = openImages(`${fashion}/t10k-images-idx3-ubyte.gz`);
    const batch = (await imageBatches(source, selectImages(source, 16, 1), { preprocessing }).next()).value;
    const [kept, folded] = await Promise.all(
      Object.keys(golden).map(async (name) => {
        const session = await OnnxSession.open(readFileSync(`${models.path}/${name}`), { path: name });
        const outputs = await session.run({ image: batch.images });
        await session.close();
        return outputs.logits!;
      }),
    );
    const parity = new OutputParity();
    parity.add(kept!, folded!);
    expect(parity.finish().maximumRelative).toBeLessThan(1e-5);
    source.close();
  });
});
