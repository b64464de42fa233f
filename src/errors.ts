/**
 * Every error the package throws on purpose. `code` is the stable part, `data` the facts (names, values,
 * limits) for programs, `message` the sentence for people, `hint` what to do about it.
 */
export type ErrorCode =
  | 'shape-mismatch'
  | 'non-finite-value'
  | 'not-symmetric'
  | 'option-out-of-range'
  | 'unknown-name'
  | 'run-in-use'
  | 'run-mismatch'
  | 'interrupted'
  | 'verification-failed'
  | 'layer-too-large'
  | 'not-positive-definite'
  | 'engine-unavailable'
  | 'out-of-memory'
  | 'file-malformed'
  | 'file-unreadable'
  | 'file-unsupported'
  | 'file-unwritable'
  | 'disk-full'
  | 'not-found'
  | 'file-exists'
  | 'worker-failed';

export type ErrorData = Readonly<Record<string, string | number | boolean | readonly (string | number)[]>>;

export class DoubleSparseError extends Error {
  override readonly name = 'DoubleSparseError';
  readonly code: ErrorCode;
  readonly data: ErrorData;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: { data?: ErrorData; hint?: string; cause?: unknown } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.data = details.data ?? {};
    this.hint = details.hint;
  }
}

/** An error in a form that survives the way between threads. */
export interface PostedError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly data: ErrorData;
  readonly hint: string | undefined;
}

/** What a worker thread answers in place of a result; anything but our own errors becomes `worker-failed`. */
export function postedError(error: unknown): PostedError {
  if (!(error instanceof DoubleSparseError)) {
    return { code: 'worker-failed', message: describeError(error), data: {}, hint: undefined };
  }
  const { code, message, data, hint } = error;
  return { code, message, data, hint };
}

/** The error of {@link postedError}, to throw on this side. */
export function receivedError({ code, message, data, hint }: PostedError): DoubleSparseError {
  return new DoubleSparseError(code, message, { data, ...(hint !== undefined && { hint }) });
}

/** The text to show a person for anything thrown: message, then the hint on a line of its own. */
export function describeError(error: unknown): string {
  if (error instanceof DoubleSparseError) return error.hint ? `${error.message}\n  hint: ${error.hint}` : error.message;
  return error instanceof Error ? error.message : String(error);
}
