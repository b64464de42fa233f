import type { Matrix } from './matrix.js';

export const engineNames = ['native', 'onnxruntime', 'wasm', 'reference'] as const;
export type EngineName = (typeof engineNames)[number];

export interface GemmOptions {
  /** Use the transpose of A (default false). */
  transposeA?: boolean;
  /** Use the transpose of B (default false). */
  transposeB?: boolean;
  /** Factor of the product (default 1). */
  alpha?: number;
  /** Factor of the old C (default 0: C is overwritten and may hold anything, NaN included). */
  beta?: number;
}

/**
 * A rectangle inside a matrix: rows x columns entries from `offset` on, rows `stride` apart.
 * What the engines work on; {@link whole} makes one of a matrix.
 */
export interface Block {
  readonly data: Float32Array;
  readonly offset: number;
  readonly stride: number;
  readonly rows: number;
  readonly columns: number;
}

/**
 * Matrix products. Each engine passes the same suite (test/linalg/engines.test.ts), the plain loops of
 * `reference` are its oracle. Calls are synchronous; C must not overlap A or B.
 */
export interface Engine {
  readonly name: EngineName;
  /** What does the work, for people: library, version, processor kernel. */
  readonly description: string;
  /** C = alpha * op(A) * op(B) + beta * C. Shapes are checked by {@link Compute.gemm}, not here. */
  gemm(a: Block, b: Block, c: Block, options: Required<GemmOptions>): void;
  /**
   * The lower triangle of C = alpha * A * A^T + beta * C (`transpose` false) or alpha * A^T * A + beta * C.
   * Optional: {@link Compute.syrk} makes it of gemm tiles otherwise.
   */
  syrkLower?(a: Block, c: Block, options: { transpose: boolean; alpha: number; beta: number }): void;
  /**
   * Threads used by one call from now on, where the library lets us choose. Of a native library this is one number
   * for the whole process. Returns the number in force.
   */
  setThreads(threads: number): number;
}

/** The whole of a matrix as a block. */
export function whole(m: Matrix): Block {
  return { data: m.data, offset: 0, stride: m.columns, rows: m.rows, columns: m.columns };
}

/** The block of rows x columns entries whose upper left corner is (row, column). */
export function blockOf(m: Matrix, row: number, column: number, rows: number, columns: number): Block {
  return { data: m.data, offset: row * m.columns + column, stride: m.columns, rows, columns };
}
