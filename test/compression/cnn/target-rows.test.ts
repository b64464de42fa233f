import { expect, test } from 'vitest';
import { reachableRows } from '../../../src/compression/cnn/target-rows.js';
import { matrix } from '../../../src/linalg/matrix.js';

test('no row without gain, and none that needs weights far beyond those of the layer', () => {
  const gain = [1, 0, 1e-6, 1e-6, -2];
  // diag(gain) W, W of ones.
  const weight = matrix(
    5,
    2,
    gain.flatMap((value) => [value, value]),
  );
  const target = matrix(5, 2, [15, 15, 1, 1, 17e-6, 17e-6, 15e-6, 15e-6, 30, 30]);
  expect(reachableRows(target, weight, gain)).toEqual(matrix(5, 2, [15, 15, 0, 0, 1e-6, 1e-6, 15e-6, 15e-6, 30, 30]));
});
