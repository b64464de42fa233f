import { expect, test } from 'vitest';
import { OutputParity } from '../../src/evaluation/parity.js';
import { errorOf } from '../formats/expect-error.js';

const row = (...values: number[]) => ({ dims: [1, values.length], data: Float32Array.from(values) });

function parityOf(...pairs: [ReturnType<typeof row>, ReturnType<typeof row>][]) {
  const parity = new OutputParity();
  for (const [expected, actual] of pairs) parity.add(expected, actual);
  return parity.finish();
}

test('differences over batches', () => {
  const result = parityOf([row(3, -4), row(3, -2)], [row(0, 1), row(1, 1)]);
  expect(result).toMatchObject({ count: 4, maximumAbsolute: 2, meanAbsolute: 3 / 4 });
  expect(result.maximumRelative).toBe(2 / 4);
  expect(result.meanRelative).toBe(3 / 8);
  expect(result.cosine).toBeCloseTo((9 + 8 + 0 + 1) / Math.sqrt(26 * 15), 12);
});

test('equal outputs, zeros too', () => {
  const none = { maximumAbsolute: 0, meanAbsolute: 0, maximumRelative: 0, meanRelative: 0, cosine: 1 };
  expect(parityOf([row(0, 0), row(0, 0)])).toMatchObject(none);
  expect(parityOf([row(2, 0), row(2, 0)])).toMatchObject(none);
  expect(parityOf([row(0), row(1)])).toMatchObject({ maximumRelative: Number.POSITIVE_INFINITY, cosine: 0 });
});

test('images whose class stays, the first of equal outputs', () => {
  const images = (dims: number[], ...values: number[]) => ({ dims, data: Float32Array.from(values) });
  const parity = new OutputParity();
  parity.add(images([2, 3], 1, 3, 2, 5, 5, 0), images([2, 3], 0, 1, 9, 4, 4, 1));
  parity.add(images([1, 3, 1, 1], -1, -2, -3), images([1, 3, 1, 1], -2, -1, -3));
  expect(parity.finish().sameClass).toBeCloseTo(1 / 3, 15);
  expect(parityOf([row(0.5), row(0.25)]).sameClass).toBeUndefined();
  const map = new OutputParity();
  map.add(images([1, 2, 2], 1, 2, 3, 4), images([1, 2, 2], 1, 2, 3, 4));
  expect(map.finish().sameClass).toBeUndefined();
});

test('refusals', () => {
  errorOf(() => parityOf([row(1), row(1, 2)]), 'shape-mismatch');
  errorOf(() => parityOf([row(1), row(Number.NaN)]), 'non-finite-value');
  errorOf(() => parityOf([row(Infinity), row(Infinity)]), 'non-finite-value');
  errorOf(() => parityOf(), 'option-out-of-range');
});
