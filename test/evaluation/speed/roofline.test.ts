import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { measureMachine } from '../../../src/evaluation/speed/measure-machine.js';
import {
  instructionsPerEight,
  type ProductKernel,
  productKernels,
} from '../../../src/evaluation/speed/product-kernels.js';
import { cacheBytesRead, productWork, roofline } from '../../../src/evaluation/speed/roofline.js';
import { spreadOf } from '../../../src/evaluation/speed/spread.js';
import { trialIds } from '../../../src/evaluation/speed/trial-ids.js';
import { CompressedCheckpoint } from '../../../src/formats/container/checkpoint.js';
import { SafetensorsCheckpoint } from '../../../src/formats/safetensors/checkpoint.js';
import { parseLlamaConfig } from '../../../src/models/llama/config.js';
import { temporaryFolder } from '../../formats/temporary-folder.js';
import { embedded, writePrunedModel } from '../../runtime/pruned-model.js';

const machine = (bandwidth: number) => ({
  bandwidth,
  nanosecondsPerEight: Object.fromEntries(
    productKernels.map((kernel) => [kernel, instructionsPerEight[kernel] / 4]),
  ) as Record<ProductKernel, number>,
});

describe('roofline', () => {
  const model = { tokenBytes: 90, cacheBytes: 10, work: { 'stored BF16': 4e6, 'dense BF16': 4e6 } };
  test.each([
    { tokensPerSecond: 50, bandwidth: 6e3, boundBy: 'memory' },
    { tokensPerSecond: 70, bandwidth: 1e6, boundBy: 'instructions' },
    { tokensPerSecond: 73, bandwidth: 7350, boundBy: 'memory' },
    { tokensPerSecond: 50, bandwidth: 1e6, boundBy: 'neither' },
  ])('$tokensPerSecond tokens/s at $bandwidth bytes/s: $boundBy', ({ tokensPerSecond, bandwidth, boundBy }) => {
    const result = roofline(model, tokensPerSecond, machine(bandwidth), 2);
    expect(result.boundBy).toBe(boundBy);
    expect(result.memoryBound).toBe(bandwidth / 100);
    expect(result.reachedOfMemory).toBeCloseTo((tokensPerSecond * 100) / bandwidth, 12);
    expect(result.instructionsPerToken).toBe(4e6 * 27);
    // Two threads, four instructions a nanosecond each.
    expect(result.instructionBound).toBeCloseTo(8e9 / (4e6 * 27), 9);
    expect(result.reachedOfInstructions).toBeCloseTo((tokensPerSecond * 4e6 * 27) / 8e9, 12);
  });
});

test('work: of a dense model eight positions at a time, of products by what they run as', () => {
  const dense = new SafetensorsCheckpoint(embedded);
  const config = parseLlamaConfig(dense.config);
  const { hiddenSize: h, intermediateSize: m, layers, vocabularySize, keyValueHeads, headSize } = config;
  const linear = layers * (2 * h * h + 2 * keyValueHeads * headSize * h + 3 * h * m);
  const head = vocabularySize * h;
  const all = (head + linear) / 8;
  expect(productWork(dense, config, {})).toEqual({ 'dense BF16': all });
  const checkpoint = new CompressedCheckpoint(writePrunedModel(join(temporaryFolder(), 'pruned')));
  const planned = (representation: 'stored' | 'indexed' | 'dense') =>
    Object.fromEntries([...checkpoint.products.keys()].map((name) => [name, representation]));
  expect(productWork(checkpoint, config, planned('dense'))).toEqual({ 'dense BF16': all });
  // B is square.
  const positions = linear + layers * (6 * h * h + m * m);
  expect(productWork(checkpoint, config, planned('stored'))).toEqual({
    'dense BF16': head / 8,
    'stored BF16': positions / 8,
  });
  const values = [...checkpoint.products.values()].flatMap(({ counts }) => counts).reduce((sum, count) => sum + count);
  expect(productWork(checkpoint, config, planned('indexed'))).toEqual({
    'dense BF16': head / 8,
    'indexed BF16': values / 8,
  });
  dense.close();
  checkpoint.close();
});

test('a layer with a window reads no more of its cache than the window', () => {
  const dense = new SafetensorsCheckpoint(embedded);
  const config = parseLlamaConfig(dense.config);
  dense.close();
  const { keyValueHeads, headSize, layers } = config;
  const position = 8 * keyValueHeads * headSize;
  expect(cacheBytesRead(config, 100)).toBe(100 * layers * position);
  const windows = Array.from({ length: layers }, (_, layer) => (layer === 0 ? null : 30));
  expect(cacheBytesRead({ ...config, windows }, 100)).toBe((100 + 30 * (layers - 1)) * position);
});

test('kernels are timed in a core, the machine in all threads', async () => {
  const { bandwidth, nanosecondsPerEight } = await measureMachine(2);
  expect(bandwidth).toBeGreaterThan(1e8);
  for (const kernel of productKernels) expect(nanosecondsPerEight[kernel], kernel).toBeGreaterThan(0.1);
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
