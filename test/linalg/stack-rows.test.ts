import { expect, test } from 'vitest';
import { DoubleSparseError } from '../../src/errors.js';
import { matrix, stackRows, zeros } from '../../src/linalg/matrix.js';

test('matrices of one width come below each other, others are refused', () => {
  const [a, b] = [matrix(1, 2, [1, 2]), matrix(2, 2, [3, 4, 5, 6])];
  expect(stackRows([a, b])).toEqual(matrix(3, 2, [1, 2, 3, 4, 5, 6]));
  expect(stackRows([a, zeros(0, 2)])).toEqual(a);
  expect(() => stackRows([a, zeros(1, 3)])).toThrow(DoubleSparseError);
  expect(() => stackRows([zeros(1, 3), a])).toThrow('a matrix of 2 columns below one of 3');
});
