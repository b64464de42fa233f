import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fastestBuild } from '../../src/runtime/kernels.js';
import { measureCosts } from '../../src/runtime/measure-costs.js';
import {
  clearlyFaster,
  planRepresentations,
  representationCost,
  representations,
} from '../../src/runtime/representation.js';

const cost = fc.double({ min: 0.01, max: 2, noNaN: true });
const costs = fc.record({ maskByte: cost, maskedValue: cost, indexedValue: cost, denseValue: cost });
const products = fc.array(
  fc.record({
    rows: fc.integer({ min: 1, max: 64 }),
    inner: fc.integer({ min: 1, max: 64 }),
    columns: fc.integer({ min: 1, max: 64 }),
    density: fc.double({ min: 0, max: 1, noNaN: true }),
    valueBytes: fc.constantFrom(2, 2, 4),
  }),
  { minLength: 1, maxLength: 5 },
);
type Drawn = typeof products extends fc.Arbitrary<infer T> ? T : never;
const sized = (list: Drawn) =>
  list.map(({ rows, inner, columns, density, valueBytes }, i) => ({
    name: `product ${i}`,
    factors: [
      { rows, columns: inner, values: Math.floor(rows * inner * density) },
      { rows: inner, columns, values: Math.floor(inner * columns * density) },
    ],
    valueBytes,
  }));

describe('planRepresentations', () => {
  it('takes the fastest of each product where memory is unlimited, others than `stored` if they clearly are', () => {
    fc.assert(
      fc.property(products, costs, (list, each) => {
        const all = sized(list);
        const plan = planRepresentations(all, each, undefined, representations);
        for (const product of all) {
          const time = (name: (typeof representations)[number]) =>
            representationCost(product, name, each).nanoseconds / (name === 'stored' ? 1 : clearlyFaster);
          const possible = representations.filter((name) => name !== 'indexed' || product.valueBytes === 2);
          expect(time(plan[product.name]!)).toBe(Math.min(...possible.map(time)));
        }
      }),
    );
  });

  it('keeps the limit wherever the smallest representations do', () => {
    fc.assert(
      fc.property(products, costs, fc.double({ min: 0, max: 1, noNaN: true }), (list, each, share) => {
        const all = sized(list);
        const bytesOf = (product: (typeof all)[number], name: (typeof representations)[number]) =>
          representationCost(product, name, each).bytes;
        const possible = (product: (typeof all)[number]) =>
          representations.filter((name) => name !== 'indexed' || product.valueBytes === 2);
        const total = (pick: (sizes: number[]) => number) =>
          all.reduce((sum, product) => sum + pick(possible(product).map((name) => bytesOf(product, name))), 0);
        const [least, most] = [total((sizes) => Math.min(...sizes)), total((sizes) => Math.max(...sizes))];
        const limit = least + share * (most - least);
        const plan = planRepresentations(all, each, limit, representations);
        const used = all.reduce((sum, product) => sum + bytesOf(product, plan[product.name]!), 0);
        expect(used).toBeLessThanOrEqual(limit + 1e-6);
      }),
    );
  });
});

describe('measureCosts', () => {
  it('finds positive costs', () => {
    const { maskByte, maskedValue, indexedValue, denseValue } = measureCosts(fastestBuild());
    expect(maskByte + maskedValue).toBeGreaterThan(0);
    expect(indexedValue).toBeGreaterThan(0);
    expect(denseValue).toBeGreaterThan(0);
  });
});
