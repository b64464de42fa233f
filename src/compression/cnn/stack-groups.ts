import { type Matrix, stackRows, zeros } from '../../linalg/matrix.js';

/**
 * Factors of the groups of a layer, each A and B or one matrix, stacked. Groups of smaller rank get inner channels of
 * zeros: ONNX groups are of one size.
 */
export function stackGroups(groups: readonly (readonly Matrix[])[]): readonly Matrix[] {
  if (groups[0]?.length !== 2) return [stackRows(groups.map(([matrix]) => matrix as Matrix))];
  const pairs = groups as readonly (readonly [Matrix, Matrix])[];
  const inner = Math.max(...pairs.map(([, b]) => b.rows));
  return [
    stackRows(pairs.map(([a]) => widened(a, inner))),
    stackRows(pairs.map(([, b]) => stackRows([b, zeros(inner - b.rows, b.columns)]))),
  ];
}

/** With columns of zeros behind its own. */
function widened(source: Matrix, columns: number): Matrix {
  if (source.columns === columns) return source;
  const result = zeros(source.rows, columns);
  for (let row = 0; row < source.rows; row++)
    result.data.set(source.data.subarray(row * source.columns, (row + 1) * source.columns), row * columns);
  return result;
}
