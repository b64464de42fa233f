import { expect, test } from 'vitest';
import { type ImageBatchOptions, imageBatches } from '../../../src/calibration/images/image-batches.js';
import type { ImageSource } from '../../../src/calibration/images/image-source.js';
import { augmentationSchema, preprocessingSchema } from '../../../src/calibration/images/options.js';
import { CalibrationImages } from '../../../src/compression/cnn/calibration-images.js';
import { seededRandom } from '../../helpers.js';

const [count, side, channels] = [11, 6, 3];
const preprocessing = preprocessingSchema.parse({ crop: [4], mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.1] });
const augmentation = augmentationSchema.parse({ flip: true, passes: 2 });

/** @param reads counts them. */
function memorySource(make: (values: number[]) => Uint8Array | Float32Array, reads = { count: 0 }): ImageSource {
  const random = seededRandom(5);
  const images = Array.from({ length: count }, () =>
    make(Array.from({ length: side * side * channels }, () => Math.floor(256 * random()))),
  );
  return {
    path: 'memory',
    names: images.map((_, index) => String(index)),
    channels,
    read(index) {
      reads.count++;
      return { height: side, width: side, channels, data: images[index]! };
    },
    close() {},
  };
}

async function all(batches: AsyncIterable<{ readonly dims: readonly number[]; readonly data: Float32Array }>) {
  const list = [];
  for await (const { dims, data } of batches) list.push({ dims, data });
  return list;
}

test.each([
  ['bytes', (values: number[]) => Uint8Array.from(values)],
  ['floats', (values: number[]) => Float32Array.from(values, (value) => value / 7)],
])('%s: every pass has the values of batches made anew, and reads images once', async (_, make) => {
  const reads = { count: 0 };
  const options = { preprocessing, augmentation, samples: 100, seed: 3 };
  const images = new CalibrationImages(memorySource(make, reads), { batchSize: 4, size: {} }, options);
  const expected: { dims: readonly number[]; data: Float32Array }[] = [];
  const naive: ImageBatchOptions = { preprocessing, augmentation, seed: 3, batchSize: 4 };
  for await (const batch of imageBatches(memorySource(make), [...Array(count).keys()], naive))
    expected.push(batch.images);
  expect(expected.map(({ dims }) => dims[0])).toEqual([4, 4, 3, 4, 4, 3]);
  for (let pass = 0; pass < 2; pass++) {
    const made = await all(images.batches());
    expect(made.map(({ dims }) => dims)).toEqual(expected.map(({ dims }) => dims));
    for (const [i, { data }] of made.entries()) expect(data).toHaveSameBits(expected[i]!.data);
  }
  expect(reads.count).toBe(2 * count);
});

test('a limit is kept to the image, and other batches hold the same images', async () => {
  const source = memorySource((values) => Uint8Array.from(values));
  const images = new CalibrationImages(
    source,
    { batchSize: 4, size: {} },
    { preprocessing, augmentation, samples: 100, seed: 3 },
  );
  const of = async (batchSize: number, limit?: number) => {
    images.batchSize = batchSize;
    return all(images.batches(limit));
  };
  expect((await of(4, 6)).map(({ dims }) => dims[0])).toEqual([4, 2]);
  const values = (list: { data: Float32Array }[]) => list.flatMap(({ data }) => [...data]);
  expect(values(await of(5, 7))).toEqual(values(await of(2, 7)));
  expect(values(await of(1))).toEqual(values(await of(32)));
});
