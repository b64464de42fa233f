import { DoubleSparseError } from '../errors.js';
import { factorizeStacked } from '../factorization/double-sparse/stacked.js';
import type { Factorization, FactorizationMetrics, FactorizationOptions } from '../factorization/factorization.js';
import { relativeLayerError } from '../factorization/layer-error.js';
import { type MethodName, methods } from '../factorization/registry.js';
import { validateLayer, validateOptions } from '../factorization/validate.js';
import type { WritableFloatType } from '../formats/dtype.js';
import type { Compute } from '../linalg/compute.js';
import { type Matrix, rowsOf, stackRows } from '../linalg/matrix.js';
import { toStoredPrecision } from './stored-precision.js';

/** One unit of work: a weight, or weights with the same inputs that are factorised together, by one method. */
export interface MatrixJob {
  readonly method: MethodName;
  readonly options: FactorizationOptions;
  /** out_i x in; more than one only for methods that stack. */
  readonly members: readonly { readonly name: string; readonly weight: Matrix }[];
  /** in x in. */
  readonly gram: Matrix;
  readonly gramName: string;
  /** Round the factors to this type, measure the error with them so, and return them; metrics alone if absent. */
  readonly storedAs?: WritableFloatType;
}

export interface MemberResult {
  readonly name: string;
  readonly metrics: FactorizationMetrics;
  /** Absent unless asked for. Members of one job share the last factor object. */
  readonly factors?: readonly Matrix[];
}

/** Does this method take weights with shared inputs as one stacked matrix? */
export const stacks = (method: MethodName): boolean => method === 'double-sparse';

/**
 * Runs one job. Errors of the mathematics come back with the names of the weights in front.
 * @throws DoubleSparseError
 */
export function runMatrixJob(job: MatrixJob, compute: Compute): MemberResult[] {
  const { members, gram, options, method } = job;
  validateOptions(options);
  for (const { name, weight } of members) validateLayer(weight, gram, name, job.gramName);
  try {
    const results = solve(job, compute);
    if (job.storedAs === undefined)
      return members.map(({ name }, index) => ({ name, metrics: results[index]!.metrics }));
    return storedResults(job, results, job.storedAs, compute);
  } catch (error) {
    if (!(error instanceof DoubleSparseError)) throw error;
    const names = members.map(({ name }) => name).join(', ');
    const data = { ...error.data, layer: names, method };
    const details = { data, cause: error, ...(error.hint && { hint: error.hint }) };
    throw new DoubleSparseError(error.code, `${names} (${method}): ${error.message}`, details);
  }
}

function solve({ members, gram, options, method }: MatrixJob, compute: Compute): Factorization[] {
  const weights = members.map(({ weight }) => weight);
  if (weights.length > 1) return factorizeStacked(weights, gram, options, compute);
  return weights.map((weight) => methods[method](weight, gram, options, compute));
}

/** Rounds the product of all members at once, so that a shared B stays one matrix, and measures each member again. */
function storedResults(
  { members, gram }: MatrixJob,
  results: readonly Factorization[],
  type: WritableFloatType,
  compute: Compute,
): MemberResult[] {
  const [stackedA, b] = toStoredPrecision(
    [stackRows(results.map(({ factors }) => factors[0] as Matrix)), ...results[0]!.factors.slice(1)],
    type,
  );
  let row = 0;
  return members.map(({ name, weight }, index) => {
    const a = rowsOf(stackedA as Matrix, row, weight.rows);
    row += weight.rows;
    const factors = b ? [a, b] : [a];
    const relativeError = compute.scope(() => {
      const local = factors.map((factor) => compute.arena.adopt(factor));
      return relativeLayerError(weight, gram, local, compute);
    });
    return { name, factors, metrics: { ...results[index]!.metrics, relativeError } };
  });
}
