import { DoubleSparseError } from '../errors.js';
import { Arena } from './arena.js';
import { type Block, type Engine, type GemmOptions, whole } from './engine.js';
import { binScratchLength, type Kernels } from './kernels.js';
import type { Matrix } from './matrix.js';
import { type SelectionBoundary, selectionBoundary } from './selection.js';
import { wasmKernels } from './wasm-kernels.js';

type Operand = Matrix | Block;
const block = (operand: Operand): Block => ('stride' in operand ? operand : whole(operand));

/** Width of the column strips in which `syrk` is made of products when the engine has none of its own. */
const syrkStrip = 256;

/**
 * What a solver computes with: an engine for matrix products, kernels for elementwise passes, an arena for memory,
 * and a clock that tells how much of the time went into products. The whole method is written against this, so that
 * another device needs no change to it.
 */
export class Compute {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly kernels: Kernels;
  readonly #bins: Uint32Array;
  #productSeconds = 0;
  #productFlops = 0;

  constructor(engine: Engine, arena: Arena = new Arena()) {
    this.engine = engine;
    this.arena = arena;
    this.kernels = wasmKernels(arena);
    const scratch = arena.vector(binScratchLength);
    this.#bins = new Uint32Array(scratch.buffer, scratch.byteOffset, scratch.length);
  }

  /** Seconds spent in matrix products so far, and their floating point operations (2 m n k each). */
  get products(): { seconds: number; flops: number } {
    return { seconds: this.#productSeconds, flops: this.#productFlops };
  }

  /** See {@link Arena.scope}. */
  scope<T>(work: () => T): T {
    return this.arena.scope(work);
  }

  /** See {@link Arena.matrix}. */
  matrix(rows: number, columns: number): Matrix {
    return this.arena.matrix(rows, columns);
  }

  /**
   * C = alpha * op(A) * op(B) + beta * C.
   * @throws DoubleSparseError `shape-mismatch`
   */
  gemm(a: Operand, b: Operand, c: Operand, options: GemmOptions = {}): void {
    const { transposeA = false, transposeB = false, alpha = 1, beta = 0 } = options;
    const left = block(a);
    const right = block(b);
    const target = block(c);
    const [m, inner] = transposeA ? [left.columns, left.rows] : [left.rows, left.columns];
    const [innerRight, n] = transposeB ? [right.columns, right.rows] : [right.rows, right.columns];
    if (inner !== innerRight || m !== target.rows || n !== target.columns) {
      throw new DoubleSparseError(
        'shape-mismatch',
        `product of ${m}x${inner} and ${innerRight}x${n} into ${target.rows}x${target.columns}`,
        { data: { m, inner, innerRight, n, rows: target.rows, columns: target.columns } },
      );
    }
    if (m === 0 || n === 0) return;
    const start = performance.now();
    this.engine.gemm(left, right, target, { transposeA, transposeB, alpha, beta });
    this.#count(start, 2 * m * n * inner);
  }

  /**
   * The symmetric matrix C = alpha * A * A^T + beta * C, or with `transpose` alpha * A^T * A + beta * C. Both
   * triangles are written.
   */
  syrk(a: Matrix, c: Matrix, options: { transpose?: boolean; alpha?: number; beta?: number } = {}): void {
    const { transpose = false, alpha = 1, beta = 0 } = options;
    const [n, inner] = transpose ? [a.columns, a.rows] : [a.rows, a.columns];
    if (c.rows !== n || c.columns !== n) {
      throw new DoubleSparseError(
        'shape-mismatch',
        `the Gram matrix of ${n} vectors does not fit into ${c.rows}x${c.columns}`,
        {
          data: { n, rows: c.rows, columns: c.columns },
        },
      );
    }
    if (n === 0) return;
    const start = performance.now();
    if (this.engine.syrkLower) this.engine.syrkLower(whole(a), whole(c), { transpose, alpha, beta });
    else this.#syrkByStrips(a, c, transpose, alpha, beta);
    this.#count(start, n * (n + 1) * inner);
    mirrorLower(c);
  }

  /** target = the `count` entries of largest magnitude of x, zeros elsewhere; x keeps the others. */
  splitLargest(x: Float32Array, count: number, target: Float32Array): void {
    const { limit, ties } = this.boundary(x, count);
    this.kernels.split(x, limit, ties, target);
  }

  /** x += y, then {@link splitLargest}. */
  addAndSplitLargest(x: Float32Array, y: Float32Array, count: number, target: Float32Array): void {
    this.kernels.addAndCount(x, y, this.#bins);
    const { limit, ties } = selectionBoundary(this.kernels, x, count, this.#bins);
    this.kernels.split(x, limit, ties, target);
  }

  /** Where the `count` largest |x| end. */
  boundary(x: Float32Array, count: number): SelectionBoundary {
    this.kernels.countMagnitudes(x, this.#bins);
    return selectionBoundary(this.kernels, x, count, this.#bins);
  }

  #syrkByStrips(a: Matrix, c: Matrix, transpose: boolean, alpha: number, beta: number): void {
    const n = c.rows;
    for (let j = 0; j < n; j += syrkStrip) {
      const width = Math.min(syrkStrip, n - j);
      const part = (from: number, length: number): Block =>
        transpose
          ? { data: a.data, offset: from, stride: a.columns, rows: a.rows, columns: length }
          : { data: a.data, offset: from * a.columns, stride: a.columns, rows: length, columns: a.columns };
      const target = { data: c.data, offset: j * n + j, stride: n, rows: n - j, columns: width };
      this.engine.gemm(part(j, n - j), part(j, width), target, {
        transposeA: transpose,
        transposeB: !transpose,
        alpha,
        beta,
      });
    }
  }

  #count(start: number, flops: number): void {
    this.#productSeconds += (performance.now() - start) / 1000;
    this.#productFlops += flops;
  }
}

/** Copies the lower triangle of a square matrix into the upper one, tile by tile. */
export function mirrorLower(c: Matrix): void {
  const { rows: n, data } = c;
  const tile = 32;
  for (let i0 = 0; i0 < n; i0 += tile) {
    const i1 = Math.min(n, i0 + tile);
    for (let j0 = 0; j0 <= i0; j0 += tile) {
      for (let i = i0; i < i1; i++) {
        const j1 = Math.min(i, j0 + tile);
        for (let j = j0; j < j1; j++) data[j * n + i] = data[i * n + j] as number;
      }
    }
  }
}
