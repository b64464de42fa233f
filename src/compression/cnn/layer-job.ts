import { withFittedScales } from '../../calibration/output-corrections.js';
import { DoubleSparseError } from '../../errors.js';
import { doubleSparseLevels } from '../../factorization/double-sparse/levels.js';
import type { Factorization, FactorizationOptions } from '../../factorization/factorization.js';
import { obcLevels } from '../../factorization/obc/obc.js';
import { type MethodName, methods } from '../../factorization/registry.js';
import { validateLayer } from '../../factorization/validate.js';
import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';

/** One matrix by one method at several budgets (nonzeros). */
export interface LayerJob {
  readonly name: string;
  readonly method: MethodName;
  /** out x in, and in x in. */
  readonly weight: Matrix;
  readonly gram: Matrix;
  readonly budgets: readonly number[];
  readonly options: FactorizationOptions;
}

/**
 * Runs one job; one result for each budget, its outputs scaled as fits best. Errors of the mathematics come back with the name of the layer in front.
 * @throws DoubleSparseError
 */
export function runLayerJob(job: LayerJob, compute: Compute): Factorization[] {
  const { name, method, weight, gram } = job;
  validateLayer(weight, gram, name);
  try {
    return factorizations(job, compute).map((each) => withFittedScales(weight, gram, each, compute));
  } catch (error) {
    if (!(error instanceof DoubleSparseError)) throw error;
    const { code, message, data, hint } = error;
    throw new DoubleSparseError(code, `${name} (${method}): ${message}`, {
      data: { ...data, layer: name, method },
      cause: error,
      ...(hint !== undefined && { hint }),
    });
  }
}

function factorizations({ method, weight, gram, budgets, options }: LayerJob, compute: Compute): Factorization[] {
  const { effort } = options;
  if (method === 'double-sparse' && effort === 'search' && budgets.length > 1)
    return doubleSparseLevels(weight, gram, budgets, options, compute);
  if (method === 'obc') return obcLevels(weight, gram, budgets, options, compute);
  return budgets.map((budget) => methods[method](weight, gram, { ...options, budget }, compute));
}
