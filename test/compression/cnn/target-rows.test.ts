import { expect, test } from 'vitest';
import { reachableRows } from '../../../src/compression/cnn/target-rows.js';
import { matrix } from '../../../src/linalg/matrix.js';

test('no row without gain, and none that needs weights far beyond those of the layer', () => {
  const gain = [1, 0, 2 ** -20, 2 ** -20, -2];
  // diag(gain) W, W of ones.
  const weight = matrix(
    5,
    2,
    gain.flatMap((value) => [value, value]),
  );
  const target = matrix(5, 2, [500, 500, 1, 1, 1, 1, 2 ** -11, 2 ** -11, 30, 30]);
  const rows = reachableRows(target, weight, gain);
  expect(rows).toEqual(matrix(5, 2, [500, 500, 0, 0, 2 ** -10, 2 ** -10, 2 ** -11, 2 ** -11, 30, 30]));
});

test('a layer without weights and a target that equals the weights stay as they are', () => {
  const weight = matrix(2, 1, [0, 3]);
  expect(reachableRows(weight, weight, [1, 1])).toEqual(weight);
  expect(reachableRows(matrix(2, 1, [0, 0]), matrix(2, 1, [0, 0]), [1, 1])).toEqual(matrix(2, 1, [0, 0]));
});
