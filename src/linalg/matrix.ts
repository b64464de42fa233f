import { DoubleSparseError } from '../errors.js';

/** A dense row-major fp32 matrix: entry (i, j) is `data[i * columns + j]`. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float32Array;
}

/** Zeros, rows x columns, on the ordinary heap. Solvers allocate from an {@link Arena} instead. */
export function zeros(rows: number, columns: number): Matrix {
  return { rows, columns, data: new Float32Array(rows * columns) };
}

/**
 * Views `data` as a rows x columns matrix, without a copy.
 * @throws DoubleSparseError `shape-mismatch` if the lengths disagree.
 */
export function matrix(rows: number, columns: number, data: Float32Array | readonly number[]): Matrix {
  const values = data instanceof Float32Array ? data : Float32Array.from(data);
  if (values.length !== rows * columns) {
    throw new DoubleSparseError(
      'shape-mismatch',
      `a ${rows}x${columns} matrix needs ${rows * columns} values, got ${values.length}`,
      { data: { rows, columns, length: values.length } },
    );
  }
  return { rows, columns, data: values };
}

/** A copy on the ordinary heap. */
export function clone(source: Matrix): Matrix {
  return { rows: source.rows, columns: source.columns, data: new Float32Array(source.data) };
}

/** The transpose, as a copy on the ordinary heap, or into `target` (columns x rows). Tiled for the cache. */
export function transpose(source: Matrix, target: Matrix = zeros(source.columns, source.rows)): Matrix {
  const { rows, columns, data } = source;
  const tile = 32;
  for (let i0 = 0; i0 < rows; i0 += tile) {
    const i1 = Math.min(rows, i0 + tile);
    for (let j0 = 0; j0 < columns; j0 += tile) {
      const j1 = Math.min(columns, j0 + tile);
      for (let i = i0; i < i1; i++) {
        for (let j = j0; j < j1; j++) target.data[j * rows + i] = data[i * columns + j] as number;
      }
    }
  }
  return target;
}

/** A view of `count` rows from `first` on. */
export function rowsOf({ columns, data }: Matrix, first: number, count: number): Matrix {
  return { rows: count, columns, data: data.subarray(first * columns, (first + count) * columns) };
}

/**
 * Matrices of one width below each other, as a copy on the ordinary heap; a single one is returned as it is.
 * @throws DoubleSparseError `shape-mismatch` for different widths.
 */
export function stackRows(parts: readonly Matrix[]): Matrix {
  const [first] = parts;
  if (first && parts.length === 1) return first;
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const result = zeros(rows, first?.columns ?? 0);
  let filled = 0;
  for (const { columns, data } of parts) {
    if (columns !== result.columns) {
      throw new DoubleSparseError('shape-mismatch', `a matrix of ${columns} columns below one of ${result.columns}`, {
        data: { columns, expected: result.columns },
      });
    }
    result.data.set(data, filled);
    filled += data.length;
  }
  return result;
}

/** The main diagonal, as float64. */
export function diagonal(source: Matrix): Float64Array {
  const n = Math.min(source.rows, source.columns);
  const result = new Float64Array(n);
  for (let i = 0; i < n; i++) result[i] = source.data[i * source.columns + i] as number;
  return result;
}

/** Number of entries that are not zero. */
export function countNonzeros(source: Matrix): number {
  let count = 0;
  for (let i = 0; i < source.data.length; i++) if (source.data[i] !== 0) count++;
  return count;
}
