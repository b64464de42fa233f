import { expect, test } from 'vitest';
import { augment, checkAugmentation } from '../../../src/calibration/images/augment.js';
import { normalizeInto, orderChannels } from '../../../src/calibration/images/normalize.js';
import { augmentationSchema, preprocessingSchema } from '../../../src/calibration/images/options.js';
import { cropCenter, flipped, type RawImage, shifted } from '../../../src/calibration/images/raw-image.js';
import { errorOf } from '../../formats/expect-error.js';

/** Gray, 3 x 4: 1 to 12. */
const gray: RawImage = { height: 3, width: 4, channels: 1, data: Uint8Array.from({ length: 12 }, (_, i) => i + 1) };
/** RGB, 1 x 2. */
const colours: RawImage = { height: 1, width: 2, channels: 3, data: Uint8Array.of(10, 20, 30, 40, 50, 60) };

function normalized(image: RawImage, options: object): number[] {
  const target = new Float32Array(image.data.length);
  normalizeInto(image, preprocessingSchema.parse(options), target);
  return [...target];
}

test('center crop: odd rests as torchvision', () => {
  expect([...cropCenter(gray, 1, 2).data]).toEqual([6, 7]);
  // A rest of 1 begins at 0, one of 3 at 2: Python rounds half to even.
  expect([...cropCenter(gray, 3, 3).data]).toEqual([1, 2, 3, 5, 6, 7, 9, 10, 11]);
  expect([...cropCenter(gray, 3, 1).data]).toEqual([3, 7, 11]);
  expect(errorOf(() => cropCenter(gray, 4, 4), 'option-out-of-range').hint).toContain('--resize');
});

test('shifts move zeros in, flips mirror pixels and keep their channels', () => {
  expect([...shifted(gray, 1, 2).data]).toEqual([0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 5, 6]);
  expect([...shifted(gray, -2, -1).data]).toEqual([10, 11, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  expect(shifted(gray, 9, 0).data.every((value) => value === 0)).toBe(true);
  expect([...flipped(gray).data]).toEqual([4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9]);
  expect([...flipped(colours).data]).toEqual([40, 50, 60, 10, 20, 30]);
});

test('channels', () => {
  expect([...orderChannels(colours, 'bgr').data]).toEqual([30, 20, 10, 60, 50, 40]);
  expect(orderChannels(colours, 'rgb')).toBe(colours);
  const one = { height: 1, width: 2, channels: 1, data: Float32Array.of(0.5, -1) };
  expect([...orderChannels(one, 'rgb').data]).toEqual([0.5, 0.5, 0.5, -1, -1, -1]);
  errorOf(() => orderChannels({ ...gray, width: 2, channels: 2 }, 'gray'), 'option-out-of-range');
});

test('(pixel * scale - mean) / std, channel by channel, in both layouts', () => {
  const options = { scale: 0.1, mean: [1, 2, 3], std: [1, 2, 4] };
  expect(normalized(colours, options)).toEqual([0, 3, 0, 1.5, 0, 0.75].map(Math.fround));
  expect(normalized(colours, { ...options, layout: 'nhwc' })).toEqual([0, 0, 0, 3, 1.5, 0.75].map(Math.fround));
  expect(normalized(colours, {})[5]).toBeCloseTo(60 / 255, 6);
  expect(normalized({ ...colours, data: Float32Array.from(colours.data) }, {})[5]).toBe(60);
  errorOf(() => normalized(colours, { mean: [1, 2] }), 'option-out-of-range');
});

test('augmentation depends on seed, pass and index alone, and differs between them', () => {
  const options = augmentationSchema.parse({ flip: true, shift: 1, passes: 10 });
  const of = (seed: number, pass: number, index: number) => augment(gray, options, seed, pass, index).data.join();
  expect(of(1, 2, 3)).toBe(of(1, 2, 3));
  const seen = new Map<string, number>();
  for (let pass = 0; pass < 10; pass++)
    for (let index = 0; index < 180; index++) seen.set(of(0, pass, index), (seen.get(of(0, pass, index)) ?? 0) + 1);
  // Two flips times nine shifts, all alike likely: 100 each, give or take four standard deviations.
  expect(seen.size).toBe(18);
  for (const count of seen.values()) expect(Math.abs(count - 100)).toBeLessThan(40);
});

test('passes without a change are refused', () => {
  errorOf(() => checkAugmentation(augmentationSchema.parse({ passes: 2 })), 'option-out-of-range');
  checkAugmentation(augmentationSchema.parse({ passes: 2, flip: true }));
});
