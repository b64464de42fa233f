import { type Matrix, matrix } from '../../../src/linalg/matrix.js';
import type { CnnLayer } from '../../../src/models/cnn/layer.js';
import type { LayerWeight } from '../../../src/models/cnn/rewrite.js';
import { randomMatrix, seededRandom } from '../../helpers.js';

/** W = I W, group by group. */
export function identityTimesWeight({ rows, groups }: CnnLayer, weight: Matrix): LayerWeight {
  return { kind: 'factors', a: stackedIdentity(rows / groups, groups), b: weight };
}

/** W = W I, group by group. */
export function weightTimesIdentity({ columns, groups }: CnnLayer, weight: Matrix): LayerWeight {
  return { kind: 'factors', a: weight, b: stackedIdentity(columns, groups) };
}

/** Random factors with k inner channels, and their product. */
export function randomFactors(
  { rows, columns, groups }: CnnLayer,
  k: number,
  seed = 3,
): { weight: LayerWeight; product: Matrix } {
  const a = sparse(randomMatrix(rows, k, seed), 0.5, seed);
  const b = sparse(randomMatrix(groups * k, columns, seed + 1), 0.5, seed);
  const product = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const group = Math.floor(i / (rows / groups));
    for (let inner = 0; inner < k; inner++)
      for (let j = 0; j < columns; j++)
        product[i * columns + j]! += a.data[i * k + inner]! * b.data[(group * k + inner) * columns + j]!;
  }
  return { weight: { kind: 'factors', a, b }, product: matrix(rows, columns, product) };
}

/** A copy with about that part of the entries zero. */
export function sparse({ rows, columns, data }: Matrix, sparsity: number, seed = 5): Matrix {
  const random = seededRandom(seed);
  return matrix(
    rows,
    columns,
    data.map((value) => (random() < sparsity ? 0 : value)),
  );
}

function stackedIdentity(size: number, groups: number): Matrix {
  const data = new Float32Array(groups * size * size);
  for (let row = 0; row < groups * size; row++) data[row * size + (row % size)] = 1;
  return matrix(groups * size, size, data);
}
