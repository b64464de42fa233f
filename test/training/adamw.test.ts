import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { adamStep } from '../../src/training/adamw.js';
import '../helpers.js';

const golden = JSON.parse(readFileSync(join(import.meta.dirname, 'golden/adamw.json'), 'utf8')) as {
  start: number[];
  gradients: number[][];
  norms: number[];
  /** By momentum. */
  results: Record<string, number[][]>;
};

it.each([undefined, 0.5])("steps are those of PyTorch's AdamW, momentum %s", (momentum) => {
  const results = golden.results[momentum ?? 0.9] as number[][];
  const values = Float32Array.from(golden.start);
  const [first, second] = [new Float32Array(values.length), new Float32Array(values.length)];
  for (const [i, gradient] of golden.gradients.entries()) {
    adamStep(values, Float32Array.from(gradient), first, second, {
      learningRate: 0.1,
      weightDecay: 0.3,
      step: i + 1,
      gradientScale: Math.min(1, 1 / golden.norms[i]!),
      ...(momentum !== undefined && { momentum }),
    });
    // fp32 against float64.
    expect(values).toBeAllclose(results[i]!, { rtol: 2e-6, atol: 1e-7 });
  }
});
