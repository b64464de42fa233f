import { expect, test } from 'vitest';
import { perplexityStatistics } from '../../src/evaluation/statistics.js';
import { seededRandom } from '../helpers.js';

test('mean, counts, and the spread of the windows', () => {
  const result = perplexityStatistics([Float64Array.of(1, 3), Float64Array.of(2, 4), Float64Array.of(1, 1)]);
  // Window means 2, 3, 1: standard deviation 1.
  expect(result).toMatchObject({ tokens: 6, meanLoss: 2, windowLosses: [2, 3, 1], standardErrorFrom: 'windows' });
  expect(result.perplexity).toBeCloseTo(Math.exp(2), 12);
  expect(result.standardError).toBeCloseTo(Math.exp(2) / Math.sqrt(3), 12);
});

test('a single window falls back to its tokens', () => {
  const result = perplexityStatistics([Float64Array.of(1, 2, 3, 4)]);
  expect(result).toMatchObject({ tokens: 4, standardErrorFrom: 'tokens' });
  expect(result.standardError).toBeCloseTo(Math.exp(2.5) * Math.sqrt(5 / 3 / 4), 12);
  expect(perplexityStatistics([Float64Array.of(1)]).standardError).toBe(0);
});

test('few windows that happen to agree do not make the perplexity certain', () => {
  const tokens = Float64Array.of(1, 2, 3, 4);
  const two = perplexityStatistics([tokens, tokens]);
  expect(two.standardErrorFrom).toBe('tokens');
  expect(two.standardError).toBeCloseTo(Math.exp(2.5) * Math.sqrt(10 / 7 / 8), 12);
  expect(perplexityStatistics(Array.from({ length: 8 }, () => tokens)).standardErrorFrom).toBe('windows');
});

test('the standard error is the spread of the perplexity over texts', () => {
  const random = seededRandom(3);
  const draw = () => {
    const windows = Array.from({ length: 50 }, () => {
      const level = 2 + 0.2 * (random() - 0.5);
      return Float64Array.from({ length: 40 }, () => level + random() - 0.5);
    });
    return perplexityStatistics(windows);
  };
  const results = Array.from({ length: 400 }, draw);
  const mean = results.reduce((sum, { perplexity }) => sum + perplexity, 0) / results.length;
  const spread = Math.sqrt(results.reduce((sum, { perplexity }) => sum + (perplexity - mean) ** 2, 0) / results.length);
  const estimate = results.reduce((sum, { standardError }) => sum + standardError, 0) / results.length;
  expect(estimate / spread).toBeGreaterThan(0.9);
  expect(estimate / spread).toBeLessThan(1.1);
});
