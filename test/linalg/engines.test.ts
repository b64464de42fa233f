import { availableParallelism } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from '../../src/linalg/arena.js';
import { Compute } from '../../src/linalg/compute.js';
import { type Block, blockOf, type Engine, engineNames, type GemmOptions, whole } from '../../src/linalg/engine.js';
import { referenceEngine } from '../../src/linalg/engines/reference.js';
import { chooseEngine, createChosenEngine } from '../../src/linalg/engines/select.js';
import { clone, type Matrix } from '../../src/linalg/matrix.js';
import { fillRandom, randomMatrix, type Tolerance, unitRoundoff } from '../helpers.js';

type Options = Required<GemmOptions>;
type Memory = 'plain' | 'shared';
const plainProduct: Options = { transposeA: false, transposeB: false, alpha: 1, beta: 0 };
const transposes = [false, true].flatMap((transposeA) =>
  [false, true].map((transposeB) => ({ transposeA, transposeB })),
);

/**
 * With entries in [-1, 1] the partial sums of a product are about sqrt(k) / 3 large, each of the k additions is off
 * by the unit roundoff, and these errors add up like a random walk: standard deviation k / 3 roundoffs. Twelve of
 * them hold for a million entries in any order of summation, and are far below one missing term. The last term is
 * for scaling and adding beta * C.
 */
function tolerance(inner: number, { alpha, beta }: { alpha: number; beta: number }): Tolerance {
  return { atol: unitRoundoff * (4 * inner * Math.abs(alpha) + 2 * Math.abs(beta)), rtol: 4 * unitRoundoff };
}

/** Operands of op(A) (m x inner), op(B) (inner x n) and C (m x n). */
function operands(m: number, n: number, inner: number, options: Options, memory: Memory = 'plain') {
  const a = options.transposeA ? randomMatrix(inner, m, 1, memory) : randomMatrix(m, inner, 1, memory);
  const b = options.transposeB ? randomMatrix(n, inner, 2, memory) : randomMatrix(inner, n, 2, memory);
  return { a, b, c: randomMatrix(m, n, 3, memory) };
}

function expectProduct(engine: Engine, m: number, n: number, inner: number, options: Options, memory?: Memory): void {
  const { a, b, c } = operands(m, n, inner, options, memory);
  const expected = clone(c);
  if (options.beta === 0) c.data.fill(Number.NaN);
  referenceEngine.gemm(whole(a), whole(b), whole(expected), options);
  engine.gemm(whole(a), whole(b), whole(c), options);
  expect(c).toBeAllclose(expected, tolerance(inner, options));
}

const present = engineNames.map((name): { name: string; engine: Engine } | { name: string; absent: string } => {
  try {
    return { name, engine: createChosenEngine(chooseEngine(name)) };
  } catch (error) {
    return { name, absent: (error as Error).message };
  }
});

for (const found of present) {
  if ('absent' in found) describe.skip(`engine ${found.name}`, () => it(`is not here: ${found.absent}`, () => {}));
  else describe(`engine ${found.name}`, () => engineSuite(found.engine));
}

function engineSuite(engine: Engine): void {
  describe.each(transposes)('transposeA $transposeA, transposeB $transposeB', (transpose) => {
    it.each([
      [1, 0],
      [1, 1],
      [-0.5, 0],
      [2, -0.75],
      [0, 0.5],
      [0, 0],
    ])('alpha %d, beta %d', (alpha, beta) => {
      expectProduct(engine, 37, 29, 23, { ...transpose, alpha, beta });
    });

    it.each([
      [1, 1, 1],
      [1, 17, 1],
      [17, 1, 1],
      [1, 1, 33],
      [1, 40, 9],
      [40, 1, 9],
      [3, 5, 7],
      [4, 8, 16],
      [64, 64, 64],
    ])('%d x %d, inner %d', (m, n, inner) => {
      expectProduct(engine, m, n, inner, { ...transpose, alpha: 1, beta: 0 });
      expectProduct(engine, m, n, inner, { ...transpose, alpha: 1.5, beta: 0.5 });
    });

    // One more than a cache block of the wasm engine in each direction, and of more than one of them.
    it.each([
      [129, 9, 257],
      [1027, 9, 11],
      [5, 515, 259],
      [1029, 13, 260],
      [130, 514, 7],
    ])('across cache blocks: %d x %d, inner %d', (m, n, inner) => {
      expectProduct(engine, m, n, inner, { ...transpose, alpha: 1, beta: 0 });
      expectProduct(engine, m, n, inner, { ...transpose, alpha: -1, beta: 1 });
    });

    it('reads and writes inside its blocks only', () => {
      const [m, n, inner] = [13, 11, 9];
      const options = { ...transpose, alpha: 0.5, beta: 2 };
      const { a, b, c } = operands(m, n, inner, options);
      const expected = clone(c);
      referenceEngine.gemm(whole(a), whole(b), whole(expected), options);
      for (const memory of ['plain', 'shared'] as const) {
        const target = embed(c, memory);
        engine.gemm(embed(a, memory), embed(b, memory), target, options);
        const around = embed(expected, 'plain');
        expect(target.data).toBeAllclose(around.data, tolerance(inner, options));
      }
    });

    it('takes operands from plain and from shared memory, mixed too', () => {
      const options = { ...transpose, alpha: 1, beta: 0 };
      for (const memory of ['plain', 'shared'] as const) expectProduct(engine, 50, 41, 31, options, memory);
      const { a, b } = operands(50, 41, 31, options, 'shared');
      const plain = { a: clone(a), c: randomMatrix(50, 41, 3) };
      const shared = randomMatrix(50, 41, 3, 'shared');
      engine.gemm(whole(plain.a), whole(b), whole(plain.c), options);
      engine.gemm(whole(a), whole(b), whole(shared), options);
      expect(plain.c).toBeAllclose(shared);
    });

    it('with an empty inner dimension leaves beta * C', () => {
      const { a, b, c } = operands(5, 6, 0, { ...transpose, alpha: 1, beta: 0 });
      const twice = { ...c, data: c.data.map((value) => 2 * value) };
      engine.gemm(whole(a), whole(b), whole(c), { ...transpose, alpha: 1, beta: 2 });
      expect(c).toBeAllclose(twice);
      c.data.fill(Number.NaN);
      engine.gemm(whole(a), whole(b), whole(c), { ...transpose, alpha: 1, beta: 0 });
      expect(c).toBeAllclose(new Float32Array(30));
    });
  });

  it('multiplies random shapes and blocks like the reference', () => {
    const size = fc.integer({ min: 1, max: 70 });
    const factor = fc.constantFrom(0, 1, -1, 0.3);
    const options = fc.record({ transposeA: fc.boolean(), transposeB: fc.boolean(), alpha: factor, beta: factor });
    const margin = fc.integer({ min: 0, max: 3 });
    const memory = fc.constantFrom<Memory>('plain', 'shared');
    fc.assert(
      fc.property(size, size, size, options, margin, memory, (m, n, inner, chosen, gap, where) => {
        const { a, b, c } = operands(m, n, inner, chosen);
        const expected = clone(c);
        referenceEngine.gemm(whole(a), whole(b), whole(expected), chosen);
        const target = embed(c, where, gap);
        engine.gemm(embed(a, where, gap), embed(b, where, gap), target, chosen);
        expect(target.data).toBeAllclose(embed(expected, 'plain', gap).data, tolerance(inner, chosen));
      }),
      { numRuns: 150, seed: 20 },
    );
  });

  it('multiplies matrices of an arena before and after it grows', () => {
    const compute = new Compute(engine, new Arena());
    compute.scope(() => {
      const a = compute.matrix(20, 30);
      fillRandom(a.data, 1);
      const b = compute.matrix(30, 40);
      fillRandom(b.data, 2);
      const [c, again, expected] = [compute.matrix(20, 40), compute.matrix(20, 40), compute.matrix(20, 40)];
      referenceEngine.gemm(whole(a), whole(b), whole(expected), plainProduct);
      compute.gemm(a, b, c);
      compute.matrix(1000, 1000);
      compute.gemm(a, b, again);
      expect(c).toBeAllclose(expected, tolerance(30, plainProduct));
      expect(again).toBeAllclose(c);
    });
    expect(compute.products.flops).toBe(2 * 2 * 20 * 30 * 40);
  });

  // 300 is more than one strip of Compute's own syrk.
  it.each([
    [1, 1],
    [7, 12],
    [300, 40],
  ])('syrk: %d x %d and its Gram matrix, both triangles', (n, inner) => {
    const compute = new Compute(engine);
    for (const transpose of [false, true]) {
      for (const [alpha, beta] of [
        [1, 0],
        [0.5, 0],
        [2, -1],
      ] as const) {
        const a = transpose ? randomMatrix(inner, n, 1) : randomMatrix(n, inner, 1);
        const c = gramOf(randomMatrix(n, 3, 5), false);
        const expected = clone(c);
        const options = { transposeA: transpose, transposeB: !transpose, alpha, beta };
        referenceEngine.gemm(whole(a), whole(a), whole(expected), options);
        if (beta === 0) c.data.fill(Number.NaN);
        compute.syrk(a, c, { transpose, alpha, beta });
        // The entries of the old C are up to 3 large.
        expect(c).toBeAllclose(expected, tolerance(inner, { alpha, beta: 3 * beta }));
        for (let i = 0; i < n; i++)
          for (let j = 0; j < i; j++) {
            if (c.data[i * n + j] !== c.data[j * n + i]) expect.fail(`not symmetric at row ${i}, column ${j}`);
          }
      }
    }
  });

  it('computes the same with one thread, all, and one again', () => {
    try {
      for (const threads of [1, availableParallelism(), 1]) {
        const inForce = engine.setThreads(threads);
        expect(inForce).toBeGreaterThanOrEqual(1);
        expect(inForce).toBeLessThanOrEqual(threads);
        for (const transpose of transposes) expectProduct(engine, 100, 110, 120, { ...transpose, alpha: 1, beta: 0 });
      }
    } finally {
      engine.setThreads(1);
    }
  });

  it('repeats itself bit by bit', () => {
    const { a, b, c } = operands(200, 120, 90, plainProduct);
    const again = clone(c);
    engine.gemm(whole(a), whole(b), whole(c), plainProduct);
    engine.gemm(whole(a), whole(b), whole(again), plainProduct);
    expect(again.data).toHaveSameBits(c.data);
  });
}

/** A copy in the middle of a larger matrix of NaN. */
function embed(source: Matrix, memory: Memory, gap = 3): Block {
  const outer = randomMatrix(source.rows + 2 * gap, source.columns + 2 * gap, 4, memory);
  outer.data.fill(Number.NaN);
  const block = blockOf(outer, gap, gap, source.rows, source.columns);
  for (let i = 0; i < source.rows; i++) {
    const row = source.data.subarray(i * source.columns, (i + 1) * source.columns);
    block.data.set(row, block.offset + i * block.stride);
  }
  return block;
}

function gramOf(a: Matrix, transpose: boolean): Matrix {
  const n = transpose ? a.columns : a.rows;
  const c = { rows: n, columns: n, data: new Float32Array(n * n) };
  referenceEngine.gemm(whole(a), whole(a), whole(c), {
    transposeA: transpose,
    transposeB: !transpose,
    alpha: 1,
    beta: 0,
  });
  return c;
}
