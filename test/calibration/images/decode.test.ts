import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeImage } from '../../../src/calibration/images/decode-image.js';
import { orderChannels } from '../../../src/calibration/images/normalize.js';
import { preprocessingSchema } from '../../../src/calibration/images/options.js';
import type { RawImage } from '../../../src/calibration/images/raw-image.js';

const folder = `${import.meta.dirname}/golden`;
const golden = JSON.parse(readFileSync(`${folder}/golden.json`, 'utf8'));
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const decode = (name: string, options: object = {}): Promise<RawImage> =>
  decodeImage({ file: `${folder}/${name}` }, preprocessingSchema.parse(options));

function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  return Array.from(actual, (value, i) => Math.abs(value - expected[i]!)).reduce((a, b) => Math.max(a, b));
}

test.each(['rgb.png', 'rgb.webp', 'rgba.png'])('%s: pixels to the bit, transparency dropped', async (name) => {
  const image = await decode(name);
  expect(image).toMatchObject({ height: 23, width: 31, channels: 3 });
  expect(image.data).toEqual(bytes(golden.rgb));
});

test('palettes become RGB, gray stays gray', async () => {
  expect((await decode('palette.png')).data).toEqual(bytes(golden.palette));
  const gray = await decode('gray.png');
  expect(gray.channels).toBe(1);
  expect(gray.data).toEqual(bytes(golden.gray));
});

test("gray of colours is Pillow's luma to the bit", async () => {
  expect(orderChannels(await decode('rgb.png'), 'gray').data).toEqual(bytes(golden.gray));
});

// Decoders are free in the rounding of their cosine transform and of the colours.
test('JPEG within 3 levels', async () => {
  expect(largestDifference((await decode('rgb.jpg')).data, bytes(golden.jpeg))).toBeLessThanOrEqual(3);
});

// Pillow's weights have 22 bits, ours 52: a level where a sum is near one half, in each of two passes.
describe.each(['bilinear', 'bicubic', 'lanczos', 'nearest'])('%s', (interpolation) => {
  test.each([
    ['smaller', [11], { height: 11, width: 14 }],
    ['larger', [40, 50], { height: 40, width: 50 }],
  ])('%s as Pillow', async (name, resize, size) => {
    const image = await decode('rgb.png', { resize, interpolation });
    expect(image).toMatchObject({ ...size, channels: 3 });
    expect(largestDifference(image.data, bytes(golden[name][interpolation]))).toBeLessThanOrEqual(1);
  });
});

test('floats are resized alike, and not rounded', async () => {
  const image = await decode('rgb.png');
  const floats = { ...image, data: Float32Array.from(image.data) };
  const preprocessing = preprocessingSchema.parse({ resize: [11] });
  const resized = await decodeImage(floats, preprocessing);
  expect(largestDifference(resized.data, bytes(golden.smaller.bilinear))).toBeLessThan(1.5);
  expect(resized.data.some((value) => !Number.isInteger(value))).toBe(true);
});
