import { describe, expect, test } from 'vitest';
import { plainLlamaKernels as kernels } from '../../../src/models/llama/kernels.js';
import { fillRandom } from '../../helpers.js';

const random = (length: number, seed: number, scale = 1): Float32Array =>
  fillRandom(new Float32Array(length), seed).map((x) => x * scale);

test('rmsNorm', () => {
  const x = random(5 * 37, 1, 3);
  const weight = random(37, 2);
  const expected = Array.from(x, (value, i) => {
    const row = x.subarray(Math.floor(i / 37) * 37, Math.floor(i / 37) * 37 + 37);
    const mean = row.reduce((sum, each) => sum + each * each, 0) / 37;
    return (value / Math.sqrt(mean + 1e-5)) * weight[i % 37]!;
  });
  const target = new Float32Array(x.length);
  kernels.rmsNorm(target, x, weight, 1e-5);
  expect(target).toBeAllclose(expected, { rtol: 1e-6 });
  kernels.rmsNorm(x, x, weight, 1e-5);
  expect(x).toEqual(target);
});

test('rotate turns each pair by the angle of its position', () => {
  const [positions, heads, headSize] = [7, 3, 6];
  const x = random(positions * heads * headSize, 1);
  const angles = random(positions * 3, 2, Math.PI);
  const expected = x.slice();
  for (let p = 0; p < positions; p++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < 3; i++) {
        const at = (p * heads + h) * headSize + i;
        const angle = angles[p * 3 + i]!;
        expected[at] = x[at]! * Math.cos(angle) - x[at + 3]! * Math.sin(angle);
        expected[at + 3] = x[at + 3]! * Math.cos(angle) + x[at]! * Math.sin(angle);
      }
    }
  }
  kernels.rotate(x, heads, headSize, angles.map(Math.cos), angles.map(Math.sin));
  expect(x).toBeAllclose(expected, { atol: 1e-6 });
});

describe('causalExponentials', () => {
  test.each([
    ['from the first key on', 1, Number.POSITIVE_INFINITY],
    ['after other keys', 4, Number.POSITIVE_INFINITY],
    ['in a window', 1, 3],
    ['in a window after other keys', 3, 3],
    ['in a window of one', 1, 1],
  ])('%s', (_, first, window) => {
    const rows = 6;
    const columns = first + rows - 1;
    const scores = random(rows * columns, 3, 20);
    const sums = new Float32Array(rows);
    const expected = Array.from(scores, (score, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const visible = (c: number): boolean => c < first + row && c >= first + row - window;
      const all = [...scores.subarray(row * columns, (row + 1) * columns)].filter((_, c) => visible(c));
      return visible(column) ? Math.exp(score) / all.reduce((sum, each) => sum + Math.exp(each), 0) : 0;
    });
    kernels.causalExponentials(scores, rows, columns, first, window, sums);
    const weights = scores.map((weight, i) => weight * sums[Math.floor(i / columns)]!);
    expect(weights).toBeAllclose(expected, { rtol: 1e-6, atol: 1e-30 });
  });

  test('the exponential is right over its whole range', () => {
    // Down to 2^-126; below that it is zero.
    const scores = Float32Array.from({ length: 20_001 }, (_, i) => -i / 200);
    const expected = Array.from(scores, Math.exp);
    kernels.causalExponentials(scores, 1, scores.length, scores.length, Number.POSITIVE_INFINITY, new Float32Array(1));
    expect(scores).toBeAllclose(expected, { rtol: 2e-7, atol: 1.01 * 2 ** -126 });
    expect(scores.at(-1)).toBe(0);
  });

  test('what is not a number stays visible', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const sums = new Float32Array(1);
      kernels.causalExponentials(Float32Array.of(1, bad, 2), 1, 3, 3, Number.POSITIVE_INFINITY, sums);
      expect(sums[0]).toBeNaN();
    }
  });
});

test('siluMultiply', () => {
  const gate = Float32Array.from([...random(1000, 4, 30), 0, -0, 1e-30, 200, -200, 3e38, -3e38, Number.NaN]);
  const up = random(gate.length, 5);
  const expected = Array.from(gate, (x, i) => (x < -100 ? 0 : (x / (1 + Math.exp(-x))) * up[i]!));
  kernels.siluMultiply(gate, up);
  expect(gate).toBeAllclose(expected, { rtol: 5e-7, atol: 1e-11 });
});

test('accumulateExponentials: slices add up to the whole', () => {
  const [rows, columns] = [9, 50];
  const logits = random(rows * columns, 6, 40);
  const maxima = new Float64Array(rows).fill(Number.NEGATIVE_INFINITY);
  const sums = new Float64Array(rows);
  for (const [from, to] of [
    [0, 1],
    [1, 30],
    [30, 50],
  ] as const) {
    const slice = Float32Array.from({ length: rows * (to - from) }, (_, i) => {
      const row = Math.floor(i / (to - from));
      return logits[row * columns + from + (i % (to - from))]!;
    });
    kernels.accumulateExponentials(slice, to - from, maxima, sums);
  }
  const expected = Array.from({ length: rows }, (_, row) =>
    Math.log([...logits.subarray(row * columns, (row + 1) * columns)].reduce((sum, x) => sum + Math.exp(x), 0)),
  );
  expect(Array.from(maxima, (maximum, row) => maximum + Math.log(sums[row]!))).toBeAllclose(expected, { rtol: 1e-7 });
});
