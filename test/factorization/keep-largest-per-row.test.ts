import fc from 'fast-check';
import { expect, it } from 'vitest';
import { keepLargestPerRow } from '../../src/factorization/keep-largest-per-row.js';
import { matrix, zeros } from '../../src/linalg/matrix.js';

it('keeps in each row what a sort by magnitude, then position, would, and leaves the rest', () => {
  const cases = fc.record({
    rows: fc.integer({ min: 1, max: 4 }),
    columns: fc.integer({ min: 1, max: 20 }),
    count: fc.integer({ min: 0, max: 22 }),
    pool: fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 80, maxLength: 80 }),
  });
  fc.assert(
    fc.property(cases, ({ rows, columns, count, pool }) => {
      const source = pool.slice(0, rows * columns);
      const t = matrix(rows, columns, source);
      const kept = zeros(rows, columns);
      kept.data.fill(Number.NaN);
      keepLargestPerRow(t, count, kept);
      for (let row = 0; row < rows; row++) {
        const from = row * columns;
        const order = Array.from({ length: columns }, (_, j) => from + j).sort(
          (a, b) => Math.abs(source[b]) - Math.abs(source[a]) || a - b,
        );
        for (const [rank, at] of order.entries()) {
          expect(kept.data[at]).toBeCloseTo(rank < count ? source[at] : 0, 12);
          expect(kept.data[at] + t.data[at]).toBe(source[at] + 0);
        }
      }
    }),
    { numRuns: 200 },
  );
});
