import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type ImageBatch,
  type ImageBatchOptions,
  imageBatches,
  type SkippedImage,
  selectImages,
} from '../../../src/calibration/images/image-batches.js';
import { openImages } from '../../../src/calibration/images/open-images.js';
import { augmentationSchema, preprocessingSchema, readPreprocessing } from '../../../src/calibration/images/options.js';
import { errorOf } from '../../formats/expect-error.js';
import { mutationsOf } from '../../formats/mutations.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { rejectionOf } from '../expect-rejection.js';

const golden = `${import.meta.dirname}/golden`;
const root = temporaryFolder();
const folder = join(root, 'images');
mkdirSync(join(folder, 'b', 'deep'), { recursive: true });
mkdirSync(join(folder, 'a'));
for (const [from, to] of [
  ['rgb.png', 'b/deep/1.PNG'],
  ['rgb.jpg', 'b/2.jpeg'],
  ['gray.png', 'a/3.png'],
  ['rgb.webp', 'a/4.webp'],
  ['rgb.png', 'a/.hidden.png'],
  ['golden.json', 'a/no-image.json'],
])
  cpSync(join(golden, from!), join(folder, to!));
symlinkSync(folder, join(folder, 'a', 'loop'));
const source = openImages(folder);

async function collect(options: Partial<ImageBatchOptions> = {}, from = source): Promise<ImageBatch[]> {
  const preprocessing = preprocessingSchema.parse({});
  const batches: ImageBatch[] = [];
  for await (const batch of imageBatches(from, selectImages(from, undefined, 0), { preprocessing, ...options }))
    batches.push(batch);
  return batches;
}

test('folders are walked in order, hidden files and loops left out', () => {
  expect(source.names).toEqual(['a/3.png', 'a/4.webp', 'b/2.jpeg', 'b/deep/1.PNG']);
});

test('batches: sizes, order, gray among RGB', async () => {
  const [first, second] = await collect({ batchSize: 3 });
  expect(first).toMatchObject({ indices: [0, 1, 2], images: { dims: [3, 3, 23, 31] } });
  expect(second).toMatchObject({ indices: [3], images: { dims: [1, 3, 23, 31] } });
  const plane = 23 * 31;
  expect([...first!.images.data.subarray(0, plane)]).toEqual([...first!.images.data.subarray(plane, 2 * plane)]);
  const nhwc = await collect({ preprocessing: preprocessingSchema.parse({ layout: 'nhwc', crop: [20, 10] }) });
  expect(nhwc[0]!.images.dims).toEqual([4, 20, 10, 3]);
});

test('augmented passes: each draws anew, whatever the batches are', async () => {
  const augmentation = augmentationSchema.parse({ flip: true, shift: 4, passes: 3 });
  const all = (batches: ImageBatch[]): number[] => batches.flatMap(({ images }) => [...images.data]);
  const five = await collect({ augmentation, batchSize: 5 });
  const two = await collect({ augmentation, batchSize: 2 });
  expect(five.flatMap(({ indices }) => indices)).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
  expect(all(five)).toEqual(all(two));
  const length = all(five).length / 3;
  expect(all(five).slice(0, length)).not.toEqual(all(five).slice(length, 2 * length));
  expect(all(await collect({ augmentation, seed: 1 }))).not.toEqual(all(five));
});

test('damaged images are skipped once and told', async () => {
  const damaged = join(root, 'damaged');
  cpSync(folder, damaged, { recursive: true, filter: (path) => !path.endsWith('loop') });
  writeFileSync(join(damaged, 'b', '0.png'), 'no picture');
  writeFileSync(join(damaged, 'b', '1.png'), '<svg xmlns="http://www.w3.org/2000/svg" width="23" height="31"/>');
  const skipped: SkippedImage[] = [];
  const augmentation = augmentationSchema.parse({ flip: true, passes: 2 });
  const batches = await collect({ augmentation, onSkip: (each) => skipped.push(each) }, openImages(damaged));
  expect(skipped.map(({ name }) => name)).toEqual(['b/0.png', 'b/1.png']);
  expect(skipped[1]!.reason).toContain('svg');
  expect(batches.flatMap(({ indices }) => indices)).toEqual([0, 1, 4, 5, 0, 1, 4, 5]);
});

test('none left is an error', async () => {
  const broken = join(root, 'broken');
  mkdirSync(broken);
  writeFileSync(join(broken, 'x.png'), 'no picture');
  const error = await rejectionOf(() => collect({}, openImages(broken)), 'file-unreadable');
  expect(error.message).toContain('x.png');
  mkdirSync(join(root, 'empty'));
  errorOf(() => openImages(join(root, 'empty')), 'not-found');
});

test('sizes that the model does not take, or that differ, tell the flag', async () => {
  const wrongSize = await rejectionOf(() => collect({ size: { height: 224, width: 224 } }), 'option-out-of-range');
  expect(wrongSize.message).toContain('a/3.png has 23x31');
  expect(wrongSize.hint).toContain('--resize 224,224');
  const wrongChannels = await rejectionOf(() => collect({ size: { channels: 1 } }), 'option-out-of-range');
  expect(wrongChannels.hint).toContain('--channels gray');
  const gray = preprocessingSchema.parse({ channels: 'gray' });
  expect((await collect({ size: { channels: 1 }, preprocessing: gray }))[0]!.images.dims).toEqual([4, 1, 23, 31]);
  const crop = preprocessingSchema.parse({ crop: [24] });
  const small = await rejectionOf(() => collect({ preprocessing: crop }), 'option-out-of-range');
  expect(small.message).toContain('a/3.png');
});

test('selections are seeded, distinct and in order', () => {
  const many = { ...source, names: Array.from({ length: 100 }, (_, i) => `${i}`) };
  const drawn = selectImages(many, 30, 7);
  expect(drawn).toEqual(selectImages(many, 30, 7));
  expect(drawn).not.toEqual(selectImages(many, 30, 8));
  expect(new Set(drawn).size).toBe(30);
  expect(drawn).toEqual([...drawn].sort((a, b) => a - b));
  expect(selectImages(many, 200, 7)).toHaveLength(100);
});

test('preprocessing from a file', () => {
  const path = join(root, 'preprocessing.json');
  writeFileSync(path, JSON.stringify({ resize: [256], crop: [224], mean: [0.485, 0.456, 0.406] }));
  expect(readPreprocessing(path)).toMatchObject({ resize: [256], crop: [224], interpolation: 'bilinear' });
  writeFileSync(path, JSON.stringify({ resize: 256, sdt: [1] }));
  const error = errorOf(() => readPreprocessing(path), 'file-malformed');
  expect(error.message).toContain('resize');
  expect(error.message).toContain('sdt');
});

test.each(['rgb.png', 'rgb.jpg', 'rgb.webp'])(
  'mutations of %s are decoded or skipped',
  { timeout: 60_000 },
  async (name) => {
    const bytes = readFileSync(join(golden, name));
    const path = join(root, `mutated-${name}`);
    mkdirSync(path);
    await fc.assert(
      fc.asyncProperty(mutationsOf(bytes), async (mutated) => {
        writeFileSync(join(path, name), mutated);
        try {
          await collect({ preprocessing: preprocessingSchema.parse({ resize: [8, 8] }) }, openImages(path));
        } catch (error) {
          expect(error).toMatchObject({ name: 'DoubleSparseError', code: 'file-unreadable' });
        }
      }),
      { numRuns: 100 },
    );
  },
);
