import { DoubleSparseError } from '../errors.js';
import { firstNonFinite } from '../linalg/finite.js';
import type { Matrix } from '../linalg/matrix.js';
import { efforts, type FactorizationOptions } from './factorization.js';

/** Most rounding that a Gram matrix summed in any order in fp32 may show, relative to the larger of its diagonal entries. */
const symmetryTolerance = 1e-3;

function requireFinite(matrix: Matrix, name: string): void {
  const index = firstNonFinite(matrix.data);
  if (index < 0) return;
  const row = Math.floor(index / matrix.columns);
  const column = index - row * matrix.columns;
  throw new DoubleSparseError(
    'non-finite-value',
    `${name} holds ${matrix.data[index]} at row ${row}, column ${column}`,
    {
      data: { name, row, column, value: String(matrix.data[index]) },
      hint: 'the checkpoint is damaged, or calibration overflowed; look at this tensor in the source before compressing',
    },
  );
}

function requireSymmetric(gram: Matrix, name: string): void {
  const { rows: n, data } = gram;
  const tile = 64;
  for (let i0 = 0; i0 < n; i0 += tile) {
    for (let j0 = 0; j0 <= i0; j0 += tile) {
      for (let i = i0; i < Math.min(n, i0 + tile); i++) {
        const own = data[i * n + i] as number;
        if (own < 0) throw notGram(name, `the negative diagonal entry ${own}`, i, i);
        for (let j = j0; j < Math.min(i, j0 + tile); j++) {
          const difference = Math.abs((data[i * n + j] as number) - (data[j * n + i] as number));
          if (difference > symmetryTolerance * Math.max(own, data[j * n + j] as number)) {
            throw notGram(name, `entries that differ by ${difference} from their mirror images`, i, j);
          }
        }
      }
    }
  }
}

function notGram(name: string, problem: string, row: number, column: number): DoubleSparseError {
  return new DoubleSparseError('not-symmetric', `${name} has ${problem}, at row ${row}, column ${column}`, {
    data: { name, row, column },
    hint: 'a Gram matrix is the mean of x x^T over the calibration inputs: symmetric, with no negative eigenvalue',
  });
}

/**
 * Refuses options that no method can follow.
 * @throws DoubleSparseError `option-out-of-range`
 */
export function validateOptions({ sparsity, effort, seed }: FactorizationOptions): void {
  if (!(sparsity >= 0 && sparsity < 1)) {
    throw new DoubleSparseError('option-out-of-range', `sparsity ${sparsity} is outside [0, 1)`, {
      data: { sparsity },
      hint: 'sparsity 0.5 keeps half as many nonzeros as the weight has entries',
    });
  }
  if (!efforts.includes(effort)) {
    throw new DoubleSparseError('option-out-of-range', `effort ${effort} is none of ${efforts.join(', ')}`, {
      data: { effort },
    });
  }
  if (!Number.isSafeInteger(seed)) {
    throw new DoubleSparseError('option-out-of-range', `seed ${seed} is not an integer`, { data: { seed } });
  }
}

/**
 * Refuses what no method can factorise, before any work.
 * @param weight out x in. @param gram in x in. @param name of the weight, for messages.
 * @throws DoubleSparseError `shape-mismatch`, `non-finite-value`, `not-symmetric`
 */
export function validateLayer(
  weight: Matrix,
  gram: Matrix,
  name = 'weight',
  gramName = `the Gram matrix of ${name}`,
): void {
  for (const [label, matrix] of [
    [name, weight],
    [gramName, gram],
  ] as const) {
    if (matrix.rows < 1 || matrix.columns < 1 || matrix.data.length !== matrix.rows * matrix.columns) {
      throw new DoubleSparseError(
        'shape-mismatch',
        `${label} is ${matrix.rows}x${matrix.columns} with ${matrix.data.length} values`,
        {
          data: { name: label, rows: matrix.rows, columns: matrix.columns, length: matrix.data.length },
        },
      );
    }
  }
  if (gram.rows !== gram.columns || gram.columns !== weight.columns) {
    throw new DoubleSparseError(
      'shape-mismatch',
      `${gramName} is ${gram.rows}x${gram.columns}, ${name} (${weight.rows}x${weight.columns}) needs ${weight.columns}x${weight.columns}`,
      { data: { name, columns: weight.columns, gramRows: gram.rows, gramColumns: gram.columns } },
    );
  }
  requireFinite(weight, name);
  requireFinite(gram, gramName);
  requireSymmetric(gram, gramName);
}
