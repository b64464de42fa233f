import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ConvolutionGeometry } from '../../src/calibration/convolution-geometry.js';
import { addProductInputs, InputGram, type InputStatistics, secondMoments } from '../../src/calibration/input-gram.js';
import { PatchGram } from '../../src/calibration/patch-gram.js';
import type { Tensor } from '../../src/calibration/tensor.js';
import { decodeFloats } from '../../src/formats/dtype.js';
import { SafetensorsFile } from '../../src/formats/safetensors/reader.js';
import { Compute } from '../../src/linalg/compute.js';
import { createEngine } from '../../src/linalg/engines/select.js';
import type { Matrix } from '../../src/linalg/matrix.js';
import { errorOf } from '../formats/expect-error.js';
import { fillRandom, randomMatrix } from '../helpers.js';
import { convolve } from './naive-convolution.js';

const compute = new Compute(createEngine('wasm'));
const golden = new SafetensorsFile(`${import.meta.dirname}/golden/patches.safetensors`);
const cases: Record<string, { geometry: ConvolutionGeometry; groups: number; channels: number; count: number }> =
  JSON.parse(golden.header.metadata.get('cases')!);
const read = (name: string): Tensor => ({
  dims: golden.tensor(name).shape,
  data: decodeFloats('F32', golden.readBytes(name)),
});

function parts({ data }: Tensor, count: number): Float32Array[] {
  const length = data.length / count;
  return Array.from({ length: count }, (_, i) => data.subarray(i * length, (i + 1) * length));
}

/** One image at a time. */
function images({ dims, data }: Tensor): Tensor[] {
  return parts({ dims, data }, dims[0]!).map((part) => ({ dims: [1, ...dims.slice(1)], data: part }));
}

describe.each(Object.entries(cases))('%s', (name, { geometry, groups, channels, count }) => {
  const input = read(`${name}/input`);
  const weight = read(`${name}/weight`);
  const output = read(`${name}/output`);

  test("moments of PyTorch's unfolded patches, in one batch or many", () => {
    for (const batches of [[input], images(input)]) {
      const gram = new PatchGram(compute, { layer: name, geometry, channels, groups });
      for (const batch of batches) gram.add(batch);
      const results = gram.finish();
      expect(results).toHaveLength(groups);
      for (const [group, { covariance, mean, count: positions }] of results.entries()) {
        expect(positions).toBe(count);
        // The fp32 sums run over at most a hundred products of order one.
        expect(secondMoments(covariance, [mean, mean])).toBeAllclose(parts(read(`${name}/gram`), groups)[group]!, {
          rtol: 1e-5,
          atol: 1e-5,
        });
        expect(mean).toBeAllclose(parts(read(`${name}/mean`), groups)[group]!, { rtol: 1e-6, atol: 1e-7 });
      }
    }
  });

  test('the naive convolution is that of PyTorch', () => {
    expect(convolve(input, weight, geometry, groups).data).toBeAllclose(output.data, { rtol: 1e-5, atol: 1e-5 });
  });

  test('tr(W H W^T) is the mean squared output, W E[x] the mean output', () => {
    const gram = new PatchGram(compute, { layer: name, geometry, channels, groups });
    gram.add(input);
    const naive = convolve(input, weight, geometry, groups);
    const perGroup = weight.dims[0]! / groups;
    for (const [group, statistics] of gram.finish().entries()) {
      const data = parts(weight, groups)[group]!;
      const w = { rows: perGroup, columns: data.length / perGroup, data };
      const { mean, variance } = outputMoments(w, statistics);
      for (let out = 0; out < perGroup; out++) {
        const values = channel(naive, group * perGroup + out);
        const expected = values.reduce((sum, value) => sum + value / values.length, 0);
        const square = values.reduce((sum, value) => sum + value ** 2 / values.length, 0);
        expect(mean[out]).toBeCloseTo(expected, 5);
        expect((variance[out]! + mean[out]! ** 2) / square).toBeCloseTo(1, 5);
      }
    }
  });
});

/** Of each output of W x: mean W E[x], variance w S w^T of its row w. */
function outputMoments({ rows, columns, data }: Matrix, { covariance, mean: inputs }: InputStatistics) {
  const row = (r: number) => [...data.subarray(r * columns, (r + 1) * columns)];
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
    Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);
  const columnsOf = (r: number) =>
    Array.from({ length: columns }, (_, i) => dot(covariance.data.subarray(i * columns, (i + 1) * columns), row(r)));
  return {
    mean: Array.from({ length: rows }, (_, r) => dot(row(r), inputs)),
    variance: Array.from({ length: rows }, (_, r) => dot(row(r), columnsOf(r))),
  };
}

/** All values of an output channel. */
function channel({ dims, data }: Tensor, c: number): number[] {
  const inner = data.length / (dims[0]! * dims[1]!);
  return Array.from(
    { length: dims[0]! * inner },
    (_, i) => data[(Math.floor(i / inner) * dims[1]! + c) * inner + (i % inner)]!,
  );
}

test('any geometry: the mean squared output of a naive convolution', () => {
  const size = fc.integer({ min: 1, max: 9 });
  const small = fc.integer({ min: 1, max: 3 });
  const pad = fc.integer({ min: 0, max: 3 });
  const two = <T>(arbitrary: fc.Arbitrary<T>) => fc.tuple(arbitrary, arbitrary);
  const geometries = fc.record({
    kernel: two(small),
    strides: two(small),
    dilations: two(small),
    pads: fc.tuple(pad, pad, pad, pad),
    autoPad: fc.constantFrom('NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'),
  }) as fc.Arbitrary<ConvolutionGeometry>;
  fc.assert(
    fc.property(geometries, two(size), small, fc.nat(), (geometry, sizes, groups, seed) => {
      const channels = 2 * groups;
      const random = (...dims: number[]): Tensor => ({
        dims,
        data: fillRandom(new Float32Array(dims.reduce((a, b) => a * b)), seed),
      });
      const input = random(2, channels, ...sizes);
      const weight = random(groups, 2, ...geometry.kernel);
      const naive = convolve(input, weight, geometry, groups);
      const gram = new PatchGram(compute, { layer: 'conv', geometry, channels, groups });
      if (naive.data.length === 0) {
        errorOf(() => gram.add(input), 'shape-mismatch');
        return;
      }
      gram.add(input);
      for (const [group, statistics] of gram.finish().entries()) {
        const values = channel(naive, group);
        const square = values.reduce((sum, value) => sum + value ** 2 / values.length, 0);
        const data = parts(weight, groups)[group]!;
        const { mean, variance } = outputMoments({ rows: 1, columns: data.length, data }, statistics);
        expect(Math.abs(variance[0]! + mean[0]! ** 2 - square)).toBeLessThan(1e-5 * (1 + square));
      }
    }),
    { numRuns: 300 },
  );
});

describe('positions drawn at random', () => {
  const { geometry } = cases['3x3'] as { geometry: ConvolutionGeometry };
  const input: Tensor = { dims: [40, 3, 12, 12], data: fillRandom(new Float32Array(40 * 3 * 144), 5) };
  const gramOf = (options: { maximumPositions?: number; seed?: number }, batches = [input]) => {
    const gram = new PatchGram(compute, { layer: 'conv', geometry, channels: 3, ...options });
    for (const batch of batches) gram.add(batch);
    return gram.finish()[0]!;
  };

  test('so many an image, by the seed, whatever the batches', () => {
    const drawn = gramOf({ maximumPositions: 50, seed: 3 });
    expect(drawn.count).toBe(2000);
    expect(gramOf({ maximumPositions: 50, seed: 3 }, images(input)).covariance).toBeAllclose(drawn.covariance, {
      rtol: 1e-4,
      atol: 1e-5,
    });
    expect(gramOf({ maximumPositions: 50, seed: 4 }).covariance.data).not.toEqual(drawn.covariance.data);
  });

  test('an estimate of the whole', () => {
    const whole = gramOf({ maximumPositions: 144 });
    expect(whole.count).toBe(40 * 144);
    // Entries have variance below 1/3: standard error below 0.013 with 2000 positions.
    expect(gramOf({ maximumPositions: 50 }).covariance).toBeAllclose(whole.covariance, { atol: 0.06 });
  });
});

test('inputs of matrix products: every vector along the last dimension', () => {
  const rows = randomMatrix(9000, 6, 2);
  const gram = new InputGram(compute, 6);
  addProductInputs(gram, 6, { dims: [3, 1000, 6], data: rows.data.subarray(0, 18000) }, 'fc');
  addProductInputs(gram, 6, { dims: [6000, 6], data: rows.data.subarray(18000) }, 'fc');
  const { covariance, mean, count } = gram.finish();
  const h = secondMoments(covariance, [mean, mean]);
  expect(count).toBe(9000);
  for (let i = 0; i < 6; i++) {
    let sum = 0;
    const products = new Float64Array(6);
    for (let p = 0; p < 9000; p++) {
      sum += rows.data[6 * p + i]!;
      for (let j = 0; j < 6; j++) products[j]! += (rows.data[6 * p + i]! * rows.data[6 * p + j]!) / 9000;
    }
    expect(mean[i]).toBeCloseTo(sum / 9000, 10);
    expect(h.data.subarray(6 * i, 6 * i + 6)).toBeAllclose(products, { rtol: 1e-5, atol: 1e-6 });
  }
  errorOf(() => addProductInputs(gram, 5, { dims: [1, 6], data: new Float32Array(6) }, 'fc'), 'shape-mismatch');
});

test('what does not fit is refused with the layer', () => {
  const { geometry } = cases['3x3'] as { geometry: ConvolutionGeometry };
  const gram = new PatchGram(compute, { layer: 'conv7', geometry, channels: 3 });
  const zeros = (...dims: number[]): Tensor => ({ dims, data: new Float32Array(dims.reduce((a, b) => a * b)) });
  expect(errorOf(() => gram.add(zeros(1, 4, 5, 5)), 'shape-mismatch').message).toContain('conv7');
  errorOf(() => gram.add(zeros(1, 3, 5)), 'shape-mismatch');
  const infinite = zeros(1, 3, 5, 5);
  infinite.data[7] = Number.POSITIVE_INFINITY;
  expect(errorOf(() => gram.add(infinite), 'non-finite-value').message).toContain('conv7');
  errorOf(() => gram.finish(), 'option-out-of-range');
  errorOf(() => new PatchGram(compute, { layer: 'conv', geometry, channels: 3, groups: 2 }), 'shape-mismatch');
  for (const pads of [
    [2 ** 40, 0, 0, 0],
    [0, 0],
    [0.5, 0, 0, 0],
  ]) {
    const hostile = new PatchGram(compute, { layer: 'conv', geometry: { ...geometry, pads }, channels: 3 });
    errorOf(() => hostile.add(zeros(1, 3, 5, 5)), 'shape-mismatch');
  }
});
