import { expect } from 'vitest';
import { DoubleSparseError, type ErrorCode } from '../../src/errors.js';

/** The error that an asynchronous action ends in, which must be ours and have one of the codes. */
export async function rejectionOf(action: () => Promise<unknown>, ...codes: ErrorCode[]): Promise<DoubleSparseError> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof DoubleSparseError)) throw new Error('not a DoubleSparseError', { cause: error });
    expect(codes, error.message).toContain(error.code);
    return error;
  }
  throw new Error('nothing was thrown');
}
