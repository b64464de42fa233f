import { expect, test } from 'vitest';
import { reusedShared } from '../../src/linalg/shared-matrix.js';

test('memory of a name is used again, as zeros, and grows where more is asked for', () => {
  const allocate = reusedShared();
  const first = allocate('values', 4).fill(7);
  expect(allocate('others', 4).buffer).not.toBe(first.buffer);
  const second = allocate('values', 3);
  expect(second.buffer).toBe(first.buffer);
  expect([...second]).toEqual([0, 0, 0]);
  const larger = allocate('values', 5);
  expect(larger.buffer).not.toBe(first.buffer);
  expect([...larger]).toEqual([0, 0, 0, 0, 0]);
});
