import { expect } from 'vitest';
import { DoubleSparseError, type ErrorCode } from '../../src/errors.js';

/** The error that `action` throws, which must be ours and have one of the codes. */
export function errorOf(action: () => unknown, ...codes: ErrorCode[]): DoubleSparseError {
  try {
    action();
  } catch (error) {
    if (!(error instanceof DoubleSparseError)) throw new Error('not a DoubleSparseError', { cause: error });
    if (codes.length > 0) expect(codes, error.message).toContain(error.code);
    return error;
  }
  throw new Error('nothing was thrown');
}

/** Runs `action`; whatever it throws must be ours. */
export function onlyTypedErrors(action: () => unknown): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof DoubleSparseError)) throw new Error('not a DoubleSparseError', { cause: error });
  }
}

/**
 * Runs `action`, in which hostile files of a few kilobytes are opened.
 * @throws when the resident memory of the process grew by more than `megabytes` at any moment.
 */
export function withBoundedMemory(action: () => void, megabytes = 300): void {
  const peak = () => process.resourceUsage().maxRSS / 1e3;
  const before = peak();
  action();
  expect(peak() - before, 'megabytes of memory').toBeLessThan(megabytes);
}
