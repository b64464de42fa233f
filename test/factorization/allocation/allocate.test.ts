import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allocate, type LayerLevels, type Level } from '../../../src/factorization/allocation/allocate.js';
import { levelSparsities } from '../../../src/factorization/allocation/level-grid.js';
import { errorOf } from '../../formats/expect-error.js';
import { seededRandom } from '../../helpers.js';

/** The least sum of errors within the budget over all choices. */
function bruteForce(layers: readonly LayerLevels<Level>[], budget: number): number {
  const [first, ...rest] = layers;
  if (!first) return 0;
  const errors = first.levels
    .filter(({ cost }) => cost <= budget)
    .map(({ cost, error }) => error + bruteForce(rest, budget - cost));
  return Math.min(Number.POSITIVE_INFINITY, ...errors);
}

const layersOf = (cost: fc.Arbitrary<number>): fc.Arbitrary<LayerLevels<Level>[]> =>
  fc.array(
    fc.record({
      layer: fc.constant('layer'),
      levels: fc.array(fc.record({ cost, error: fc.double({ min: 0, max: 10, noNaN: true }) }), {
        minLength: 1,
        maxLength: 5,
      }),
    }),
    { minLength: 1, maxLength: 5 },
  );
const cheapest = (layers: readonly LayerLevels<Level>[]): number =>
  layers.reduce((sum, { levels }) => sum + Math.min(...levels.map(({ cost }) => cost)), 0);

describe('against all choices', () => {
  test('exact for whole costs', () => {
    fc.assert(
      fc.property(layersOf(fc.nat(100)), fc.nat(500), (layers, more) => {
        const budget = cheapest(layers) + more;
        const { chosen, cost, error } = allocate(layers, budget);
        expect(cost).toBeLessThanOrEqual(budget);
        expect(cost).toBe(chosen.reduce((sum, level) => sum + level.cost, 0));
        for (const [i, level] of chosen.entries()) expect(layers[i]!.levels).toContain(level);
        expect(error).toBeCloseTo(bruteForce(layers, budget), 9);
      }),
      { numRuns: 500 },
    );
  });

  test('never above the budget, and as good as the best with a step a layer less, for any costs', () => {
    fc.assert(
      fc.property(
        layersOf(fc.nat(1_000_000).map((value) => value / 7)),
        fc.nat(2_000_000).map((value) => value / 3),
        fc.integer({ min: 1, max: 200 }),
        (layers, more, steps) => {
          const budget = cheapest(layers) + more;
          const { cost, error } = allocate(layers, budget, { steps });
          expect(cost).toBeLessThanOrEqual(budget * (1 + 1e-12));
          const tighter = bruteForce(layers, budget - (layers.length * more) / steps);
          expect(error).toBeLessThanOrEqual(tighter + 1e-9);
        },
      ),
      { numRuns: 500 },
    );
  });
});

test('the levels may be of several methods', () => {
  const layers = [
    {
      layer: 'a',
      levels: [
        { method: 'obc', cost: 10, error: 3 },
        { method: 'double-sparse', cost: 10, error: 2 },
      ],
    },
    {
      layer: 'b',
      levels: [
        { method: 'obc', cost: 5, error: 1 },
        { method: 'double-sparse', cost: 5, error: 2 },
      ],
    },
  ];
  expect(allocate(layers, 15).chosen.map(({ method }) => method)).toEqual(['double-sparse', 'obc']);
});

test('ResNet-50 in size: 54 layers, 88 levels, millions of weights', () => {
  const random = seededRandom(1);
  const layers = Array.from({ length: 54 }, (_, i) => {
    const weights = Math.floor(10 ** (4 + 2.4 * random()));
    const scale = random();
    const levels = levelSparsities().flatMap((sparsity) =>
      [1, 0.8].map((factor) => ({ cost: Math.floor(weights * (1 - sparsity)), error: factor * scale * sparsity ** 3 })),
    );
    return { layer: `layer${i}`, levels };
  });
  const total = layers.reduce((sum, { levels }) => sum + levels[0]!.cost, 0);
  const { cost, error } = allocate(layers, total / 3);
  expect(cost).toBeLessThanOrEqual(total / 3);
  expect(cost).toBeGreaterThan(0.99 * (total / 3));
  // A hundred times finer changes little: what rounding costs.
  const finer = allocate(layers, total / 3, { steps: 100_000 });
  expect(error / finer.error).toBeLessThan(1.001);
});

test('refusals', () => {
  const layers = [{ layer: 'a', levels: [{ cost: 10, error: 1 }] }];
  expect(errorOf(() => allocate(layers, 9), 'option-out-of-range').data.cheapest).toBe(10);
  errorOf(() => allocate(layers, Number.NaN), 'option-out-of-range');
  errorOf(() => allocate([], 1), 'option-out-of-range');
  errorOf(() => allocate([{ layer: 'a', levels: [] }], 1), 'option-out-of-range');
  errorOf(() => allocate(layers, 10, { steps: 0 }), 'option-out-of-range');
  for (const bad of [
    { cost: 1, error: Number.NaN },
    { cost: -1, error: 1 },
    { cost: Number.POSITIVE_INFINITY, error: 1 },
  ])
    expect(errorOf(() => allocate([{ layer: 'a', levels: [bad] }], 1), 'non-finite-value').message).toContain('of a');
});

test('the grid: a tenth fewer nonzeros each level', () => {
  const sparsities = levelSparsities();
  expect(sparsities).toHaveLength(44);
  for (const [i, sparsity] of sparsities.entries()) expect(sparsity).toBeCloseTo(1 - 0.9 ** i, 12);
  expect(levelSparsities({ keep: 0.5, maximumSparsity: 0.75 })).toEqual([0, 0.5, 0.75]);
  for (const options of [{ keep: 1 }, { keep: 0 }, { maximumSparsity: 1 }, { maximumSparsity: -0.1 }])
    errorOf(() => levelSparsities(options), 'option-out-of-range');
});
