import { expect } from 'vitest';
import { DoubleSparseError, type ErrorCode } from '../../src/errors.js';

/** The error that an asynchronous action ends in, which must be ours and have the code. */
export async function rejectionOf(action: () => Promise<unknown>, code: ErrorCode): Promise<DoubleSparseError> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof DoubleSparseError)) throw new Error('not a DoubleSparseError', { cause: error });
    expect(error.code, error.message).toBe(code);
    return error;
  }
  throw new Error('nothing was thrown');
}
