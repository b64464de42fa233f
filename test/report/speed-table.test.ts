import { expect, test } from 'vitest';
import type { SpeedComparison, SpeedRow } from '../../src/evaluation/speed/compare-speeds.js';
import { type ProductKernel, productKernels } from '../../src/evaluation/speed/product-kernels.js';
import { speedSentence, speedTable } from '../../src/report/speed-table.js';

const at = (median: number) => ({ median, low: 0.9 * median, high: 1.1 * median });
const nanosecondsPerEight = Object.fromEntries(productKernels.map((kernel) => [kernel, 4])) as Record<
  ProductKernel,
  number
>;
const model = {
  compressed: true,
  weightBytes: 1e8,
  tokenBytes: 1e8,
  cacheBytes: 1e6,
  work: { 'stored BF16': 6e6 },
  representations: { stored: 3, indexed: 4 },
};
const sparse: SpeedRow = {
  kind: 'runtime',
  path: 'small',
  report: { description: 'relaxed kernels', loadSeconds: 0.5, residentBytes: 2e8, model },
  fileBytes: 1.1e8,
  tokensPerSecond: at(60),
  prompts: [
    { length: 128, tokensPerSecond: at(700) },
    { length: 512, tokensPerSecond: at(800) },
  ],
  firstToken: at(640),
  residentAfter: 2.2e8,
  roofline: {
    bytesPerToken: 1e8,
    instructionsPerToken: 1e8,
    memoryBound: 200,
    instructionBound: 75,
    reachedOfMemory: 0.3,
    reachedOfInstructions: 0.8,
    boundBy: 'instructions',
  },
};
const { representations: _, ...rest } = model;
const dense: SpeedRow = {
  ...sparse,
  path: 'large',
  report: { ...sparse.report, model: { ...rest, compressed: false, representations: {} } },
  firstIsFaster: at(1.5),
};
const blas: SpeedRow = {
  kind: 'blas',
  path: 'large',
  report: { description: 'OpenBLAS', loadSeconds: 0 },
  tokensPerSecond: at(100),
  prompts: [],
  residentAfter: 5e8,
  firstIsFaster: at(0.5),
};
const comparison: SpeedComparison = {
  processor: 'Some Processor',
  threads: 2,
  rounds: 5,
  tokens: 64,
  cores: 2,
  machine: { bandwidth: 2e10, nanosecondsPerEight },
  rows: [sparse, dense, blas],
  absent: ['node-llama-cpp: not installed'],
};

test('the table has every row and what bounds the model', () => {
  const text = speedTable(comparison);
  expect(text).toMatch(
    /sparse runtime: small +60\.0 +54\.0 - 66\.0 +700 +800 +0\.64 s +0\.50 s +200\.0 MB +220\.0 MB +110\.0 MB/,
  );
  expect(text).toMatch(/fp32 sgemv, products alone: large +100\.0 +90\.0 - 110\.0 +- +- +- +- +- +- +-/);
  expect(text).toContain('small: relaxed kernels; products run 3 stored, 4 indexed');
  expect(text).toContain(
    'memory allows 200 tokens/s, the instructions 75; 60.0 are 30 % and 80 %: instructions bound it\n',
  );
  expect(text).toContain(
    'a native kernel, whose vectors take 32 positions at a time, reaches what memory allows at most: 200',
  );
  expect(text).toContain("in a core's cache take: stored BF16 16.5 instructions, 4.00 ns\n");
  expect(text).toContain('node-llama-cpp: not installed');
  expect(text).not.toContain('wait for each other: fewer');
  expect(speedTable({ ...comparison, threads: 3 })).toContain('3 threads on 2 cores wait for each other: fewer');
});

test('the sentence says faster, slower or neither', () => {
  const sentence = speedSentence({ ...comparison, rows: [sparse, dense, blas, { ...dense, firstIsFaster: at(1.02) }] });
  expect(sentence).toMatch(/1\.50 times as fast as our dense runtime.*2\.00 times slower than fp32 sgemv/);
  expect(sentence).toContain('neither clearly faster nor slower than our dense runtime');
  expect(sentence).toContain('Some Processor with 2 threads');
  expect(speedSentence({ ...comparison, rows: [sparse] })).toContain('nothing to compare');
  const early = speedSentence({ ...comparison, rounds: 2 });
  expect(early).toBe(
    'The compressed model was compared in 2 rounds, too few to tell faster from slower: use --rounds 3 or more.',
  );
});
