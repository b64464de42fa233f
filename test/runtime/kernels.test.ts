import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packFactor } from '../../src/formats/container/packed-factor.js';
import type { WritableFloatType } from '../../src/formats/dtype.js';
import { whole } from '../../src/linalg/engine.js';
import { referenceEngine } from '../../src/linalg/engines/reference.js';
import { type Matrix, zeros } from '../../src/linalg/matrix.js';
import {
  compileKernels,
  fastestBuild,
  instantiateRuntimeKernels,
  type KernelBuild,
} from '../../src/runtime/kernels.js';
import { padded, tileRows } from '../../src/runtime/layout.js';
import { placeBitmask, placeIndexed } from '../../src/runtime/place-factor.js';
import { RuntimeMemory } from '../../src/runtime/runtime-memory.js';
import { rowsOfStored, type StoredMatrix } from '../../src/runtime/stored-matrix.js';
import { multiplyMatrix, multiplyVector } from '../../src/runtime/stored-product.js';
import { placeEncoded } from '../../src/runtime/weight-source.js';
import { expandNaively, multiplyNaively } from './naive-product.js';

/** fp32 sums of up to a hundred terms in another order, relative to the sum of their magnitudes. */
const tolerance = 2e-6;

const builds: KernelBuild[] = fastestBuild() === 'relaxed' ? ['plain', 'relaxed'] : ['plain'];

interface Case {
  readonly matrix: Matrix;
  readonly x: Float32Array;
  readonly bias: Float32Array;
}
/** Zeros are frequent, tiny numbers (subnormal in fp16) possible. */
const entry = fc.oneof(fc.constant(0), fc.double({ min: -4, max: 4, noNaN: true }), fc.constantFrom(1e-5, -3e-7));
const cases: fc.Arbitrary<Case> = fc
  .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 70 }))
  .chain(([rows, columns]) => {
    const vector = (length: number) =>
      fc.array(entry, { minLength: length, maxLength: length }).map((list) => Float32Array.from(list));
    return fc
      .tuple(vector(rows * columns), vector(columns), vector(rows))
      .map(([data, x, bias]) => ({ matrix: { rows, columns, data }, x, bias }));
  });

type Place = (memory: RuntimeMemory, matrix: Matrix, type: WritableFloatType) => StoredMatrix;
const forms: { name: string; types: WritableFloatType[]; place: Place }[] = [
  {
    name: 'bitmask',
    types: ['BF16', 'F16', 'F32'],
    place: (memory, matrix, type) => placeBitmask(memory, packFactor(matrix, type)),
  },
  {
    name: 'indexed',
    types: ['BF16', 'F16'],
    place: (memory, matrix, type) => placeIndexed(memory, packFactor(matrix, type)),
  },
  {
    name: 'dense',
    types: ['BF16', 'F16', 'F32'],
    place: (memory, matrix, type) => placeEncoded(memory, matrix, type, 'weight'),
  },
];

function placeFloats(memory: RuntimeMemory, values: Float32Array): number {
  const address = memory.allocate(4 * padded(values.length));
  memory.floats(address, values.length).set(values);
  return address;
}

function expectProduct(actual: ArrayLike<number>, matrix: Matrix, x: Float32Array, expected: readonly number[]): void {
  const magnitudes = multiplyNaively({ ...matrix, data: matrix.data.map(Math.abs) }, x.map(Math.abs));
  for (const [row, value] of expected.entries()) {
    const bound = tolerance * ((magnitudes[row] as number) + Math.abs(value)) + 1e-12;
    expect(Math.abs((actual[row] as number) - value), `row ${row}`).toBeLessThanOrEqual(bound);
  }
}

for (const build of builds) {
  const module = compileKernels(build);
  for (const { name, types, place } of forms) {
    describe.each(types)(`${build} kernels, ${name} %s`, (type) => {
      it('multiplies a vector by any share of the rows', () => {
        fc.assert(
          fc.property(cases, fc.nat(), fc.nat(), fc.boolean(), ({ matrix, x, bias }, a, b, accumulate) => {
            const memory = new RuntimeMemory();
            const stored = place(memory, matrix, type);
            const [input, y, offsets] = [x, bias.map((value) => value + 1), bias].map((v) => placeFloats(memory, v));
            const [first, end] = [a % (matrix.rows + 1), b % (matrix.rows + 1)].sort((p, q) => p - q) as [
              number,
              number,
            ];
            const kernels = instantiateRuntimeKernels(module, memory.memory);
            multiplyVector(kernels, stored, y!, input!, first, end, offsets!, accumulate);
            const dense = expandNaively(memory, stored);
            const products = multiplyNaively(dense, x, bias);
            const expected = products.map((value, row) => {
              const old = Math.fround((bias[row] as number) + 1);
              return row < first || row >= end ? old : value + (accumulate ? old : 0);
            });
            expectProduct(memory.floats(y!, matrix.rows), dense, x, expected);
          }),
          { numRuns: 60 },
        );
      });

      it('multiplies many vectors through expanded rows', () => {
        fc.assert(
          fc.property(cases, fc.boolean(), ({ matrix, x, bias }, accumulate) => {
            const memory = new RuntimeMemory();
            const stored = place(memory, matrix, type);
            const tile = memory.allocate(4 * tileRows * padded(matrix.columns));
            const offsets = placeFloats(memory, bias);
            const inputs = { rows: 2, columns: matrix.columns, data: Float32Array.of(...x, ...x.toReversed()) };
            const y = zeros(2, matrix.rows);
            y.data.fill(2);
            const floats = new Float32Array(memory.memory.buffer);
            const kernels = instantiateRuntimeKernels(module, memory.memory);
            const context = { kernels, engine: referenceEngine, floats, tile };
            multiplyMatrix(context, stored, whole(y), whole(inputs), 0, matrix.rows, offsets, accumulate);
            const dense = expandNaively(memory, stored);
            for (const row of [0, 1]) {
              const input = inputs.data.subarray(row * matrix.columns, (row + 1) * matrix.columns);
              const expected = multiplyNaively(dense, input, bias).map((value) => value + (accumulate ? 2 : 0));
              expectProduct(y.data.subarray(row * matrix.rows), dense, input, expected);
            }
          }),
          { numRuns: 40 },
        );
      });

      it('takes a part of the rows without a copy', () => {
        fc.assert(
          fc.property(cases, fc.nat(), ({ matrix, x }, a) => {
            const memory = new RuntimeMemory();
            const stored = place(memory, matrix, type);
            const first = a % matrix.rows;
            const part = rowsOfStored(stored, first, matrix.rows - first);
            const [input, y] = [placeFloats(memory, x), placeFloats(memory, new Float32Array(part.rows))];
            const kernels = instantiateRuntimeKernels(module, memory.memory);
            multiplyVector(kernels, part, y, input, 0, part.rows, 0, false);
            const dense = expandNaively(memory, stored);
            const data = dense.data.subarray(first * matrix.columns);
            const rows = { rows: part.rows, columns: matrix.columns, data };
            expectProduct(memory.floats(y, part.rows), rows, x, multiplyNaively(rows, x));
          }),
          { numRuns: 30 },
        );
      });
    });
  }
}
