import fc from 'fast-check';
import { expect, test } from 'vitest';
import { balanceScales } from '../../../src/formats/container/balance-scales.js';
import { matrix } from '../../../src/linalg/matrix.js';
import '../../helpers.js';
import { errorOf } from '../expect-error.js';
import { denseProduct, sparseMatrix } from '../tiny-model.js';

test('the product stays the same to the last bit, rows of B come to a norm of at most 1', () => {
  const scale = fc.array(fc.integer({ min: -20, max: 20 }), { minLength: 6, maxLength: 6 });
  fc.assert(
    fc.property(fc.integer(), scale, scale, (seed, left, right) => {
      const a = sparseMatrix(5, 6, seed);
      const b = sparseMatrix(6, 7, seed + 1);
      const wildA = { ...a, data: a.data.map((value, i) => value * 2 ** left[i % 6]!) };
      const wildB = { ...b, data: b.data.map((value, i) => value * 2 ** right[Math.floor(i / 7)]!) };
      const balanced = balanceScales(wildA, wildB);
      expect(denseProduct(balanced.a, balanced.b).data).toHaveSameBits(denseProduct(wildA, wildB).data);
      for (let k = 0; k < 6; k++) {
        const row = Math.hypot(...balanced.b.data.subarray(k * 7, (k + 1) * 7));
        const column = Math.hypot(...[...balanced.a.data].filter((_, i) => i % 6 === k));
        if (row === 0 || column === 0) continue;
        expect(row).toBeLessThanOrEqual(1);
        // Balanced within a factor of two, unless the bound of B keeps it below.
        if (row < 0.5) expect(row / column).toBeGreaterThan(0.49);
        expect(row / column).toBeLessThan(2.01);
      }
    }),
  );
});

test('zeros and what is not finite are left as they are', () => {
  const a = matrix(1, 3, [0, 1e3, Number.POSITIVE_INFINITY]);
  const b = matrix(3, 1, [5, 0, 7]);
  const balanced = balanceScales(a, b);
  expect(balanced.a.data).toHaveSameBits(a.data);
  expect(balanced.b.data).toHaveSameBits(b.data);
  errorOf(() => balanceScales(a, matrix(2, 1, [1, 2])), 'shape-mismatch');
});
