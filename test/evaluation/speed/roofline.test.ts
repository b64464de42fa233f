import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { instructionsPerEight, productInstructions, roofline } from '../../../src/evaluation/speed/roofline.js';
import { spreadOf } from '../../../src/evaluation/speed/spread.js';
import { trialIds } from '../../../src/evaluation/speed/trial-ids.js';
import { CompressedCheckpoint } from '../../../src/formats/container/checkpoint.js';
import { SafetensorsCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { parseLlamaConfig } from '../../../src/models/llama/config.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { embedded, writePrunedModel } from '../../runtime/pruned-model.js';

describe('roofline', () => {
  const model = { tokenBytes: 90, cacheBytes: 10, instructions: 4e7 };
  test.each([
    { tokensPerSecond: 80, bandwidth: 1e4, boundBy: 'memory' },
    { tokensPerSecond: 80, bandwidth: 1e6, boundBy: 'instructions' },
    { tokensPerSecond: 8, bandwidth: 1e6, boundBy: 'rest' },
  ])('$tokensPerSecond tokens/s at $bandwidth bytes/s: $boundBy', ({ tokensPerSecond, bandwidth, boundBy }) => {
    const result = roofline(model, tokensPerSecond, bandwidth, 2);
    expect(result.boundBy).toBe(boundBy);
    expect(result.memoryBound).toBe(bandwidth / 100);
    expect(result.reached).toBeCloseTo((tokensPerSecond * 100) / bandwidth, 12);
    expect(result.instructionRate).toBe((4e7 * tokensPerSecond) / 2);
  });
});

test('instructions: of a dense model eight positions at a time, of products by what they run as', () => {
  const dense = new SafetensorsCheckpoint(embedded);
  const config = parseLlamaConfig(dense.config);
  const { hiddenSize: h, intermediateSize: m, layers, vocabularySize, keyValueHeads, headSize } = config;
  const linear = layers * (2 * h * h + 2 * keyValueHeads * headSize * h + 3 * h * m);
  const head = ((vocabularySize * h) / 8) * instructionsPerEight.dense;
  const all = head + (linear / 8) * instructionsPerEight.dense;
  expect(productInstructions(dense, config, {})).toBeCloseTo(all, 0);
  const checkpoint = new CompressedCheckpoint(writePrunedModel(join(temporaryFolder(), 'pruned')));
  const planned = (representation: 'stored' | 'indexed' | 'dense') =>
    Object.fromEntries([...checkpoint.products.keys()].map((name) => [name, representation]));
  expect(productInstructions(checkpoint, config, planned('dense'))).toBeCloseTo(all, 0);
  // B is square.
  const positions = linear + layers * (6 * h * h + m * m);
  const stored = head + (positions / 8) * instructionsPerEight.stored;
  expect(productInstructions(checkpoint, config, planned('stored'))).toBeCloseTo(stored, 0);
  const values = [...checkpoint.products.values()].flatMap(({ counts }) => counts).reduce((sum, count) => sum + count);
  const indexed = head + (values / 8) * instructionsPerEight.indexed;
  expect(productInstructions(checkpoint, config, planned('indexed'))).toBeCloseTo(indexed, 0);
  dense.close();
  checkpoint.close();
});

test('a median with its range', () => {
  expect(spreadOf([3, 1, 2])).toEqual({ median: 2, low: 1, high: 3 });
  expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, low: 1, high: 4 });
  expect(spreadOf([5])).toEqual({ median: 5, low: 5, high: 5 });
});

test('trial ids are in the vocabulary', () => {
  const ids = trialIds(512, 50);
  expect(Math.max(...ids)).toBeLessThan(50);
  expect(new Set(ids).size).toBeGreaterThan(40);
});
