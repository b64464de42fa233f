import type { InputStatistics } from '../../calibration/input-gram.js';
import { fittedOffset, type LinearProblem, linearProblem } from '../../calibration/linear-target.js';
import type { Effort } from '../../factorization/factorization.js';
import { quadraticForm } from '../../factorization/layer-error.js';
import { obcMaximumInputs } from '../../factorization/obc/obc.js';
import type { MethodName } from '../../factorization/registry.js';
import { balanceScales } from '../../formats/container/balance-scales.js';
import type { Compute } from '../../linalg/compute.js';
import { type Matrix, zeros } from '../../linalg/matrix.js';
import type { LayerOutput } from '../../models/cnn/layer-output.js';
import type { MatrixPool } from '../matrix-pool.js';
import type { LayerStatistics } from './gather.js';
import type { CnnMethodName } from './options.js';
import { groupRows, type PlannedLayer } from './planned-layer.js';
import { stackGroups } from './stack-groups.js';
import { reachableRows } from './target-rows.js';

/** Exact pruning of wider layers would take minutes and more; `auto` then takes ADMM pruning alone for one sparse matrix. */
const widestForObc = 1200;
/** Exact pruning has rarely less than this part of the error of ADMM pruning: where two factors are better, it cannot win. */
const obcToAdmm = 0.65;
/**
 * Operations of one product with the Gram matrix up to which a search over supports takes seconds. Above, one budget gets
 * the effort `max`, and the levels of a curve, of which only the shape matters, `fast`.
 */
const searchOperations = 4e8;

/** Factors of a layer at one budget, all of its groups stacked. */
export interface LayerSolution {
  readonly method: MethodName;
  /** A and B, or one matrix. */
  readonly factors: readonly Matrix[];
  readonly nonzeros: number;
  /** tr((W* - V) S (W* - V)^T), summed over groups, and the same of W* alone. */
  readonly error: number;
  readonly energy: number;
}

/** One linear problem for each group of a layer. */
export function layerProblems(
  { layer, outputs, weight, centered }: PlannedLayer,
  statistics: LayerStatistics,
  compute: Compute,
): LinearProblem[] {
  const { gain } = outputs[0] as LayerOutput;
  const size = layer.rows / layer.groups;
  return Array.from({ length: layer.groups }, (_, group) => {
    const uses = statistics.map((groups) => groups[group] as InputStatistics);
    const own = groupRows(weight, layer.groups, group);
    const { weight: target, gram } = linearProblem(own, uses, centered, compute);
    return { weight: reachableRows(target, own, gain.subarray(group * size, (group + 1) * size)), gram };
  });
}

/** The method that a layer gets where another one was asked for that cannot do it, and why. */
export function methodFor(
  { layer }: Pick<PlannedLayer, 'layer'>,
  method: CnnMethodName,
): { readonly method: CnnMethodName; readonly reason?: string } {
  if (method !== 'obc' || layer.columns <= obcMaximumInputs) return { method };
  return { method: 'admm', reason: `obc takes ${obcMaximumInputs} inputs at most, it has ${layer.columns}` };
}

/** What computes: worker threads for methods, this thread for products. */
export interface Solver {
  readonly pool: MatrixPool;
  readonly compute: Compute;
}

export interface SolveOptions {
  readonly effort: Effort;
  readonly seed: number;
}

/**
 * Solves the problems of a layer at several budgets by one method.
 * @param budgets nonzeros of the whole layer; each group gets its part.
 */
async function solveLayer(
  { layer }: PlannedLayer,
  problems: readonly LinearProblem[],
  method: MethodName,
  budgets: readonly number[],
  { effort, seed }: SolveOptions,
  { pool, compute }: Solver,
): Promise<LayerSolution[]> {
  const groups = problems.length;
  const isLarge = (2 * layer.rows * layer.columns ** 2) / groups > searchOperations;
  const largeEffort = budgets.length > 1 ? 'fast' : 'max';
  const options = { sparsity: 0, effort: effort === 'search' && isLarge ? largeEffort : effort, seed };
  const results = await Promise.all(
    problems.map(({ weight, gram }, group) =>
      pool.runLayer({
        name: groups === 1 ? layer.name : `${layer.name}, group ${group}`,
        method,
        weight,
        gram,
        budgets: budgets.map(
          (budget) => Math.floor((budget * (group + 1)) / groups) - Math.floor((budget * group) / groups),
        ),
        options,
      }),
    ),
  );
  const energies = problems.map(({ weight, gram }) => Math.max(0, quadraticForm(weight, gram, compute)));
  return budgets.map((_, i): LayerSolution => {
    const parts = results.map((each) => each[i]!);
    return {
      method,
      factors: stackGroups(parts.map(({ factors }) => factors)),
      nonzeros: parts.reduce((sum, { metrics }) => sum + metrics.nonzeros, 0),
      error: parts.reduce((sum, { metrics }, group) => sum + metrics.relativeError * (energies[group] as number), 0),
      energy: energies.reduce((sum, energy) => sum + energy, 0),
    };
  });
}

/**
 * The same for any method of the command line, see {@link methodFor}. `auto` is the better of two factors and of one
 * sparse matrix, for each budget.
 */
export async function solveByMethod(
  planned: PlannedLayer,
  problems: readonly LinearProblem[],
  asked: CnnMethodName,
  budgets: readonly number[],
  options: SolveOptions,
  solver: Solver,
): Promise<LayerSolution[]> {
  const solve = (each: MethodName) => solveLayer(planned, problems, each, budgets, options, solver);
  const { method } = methodFor(planned, asked);
  if (method !== 'auto') return solve(method);
  const [factored, sparse] = await Promise.all([solve('double-sparse'), solve('admm')]);
  const open = factored.some(({ error }, i) => error > obcToAdmm * sparse[i].error);
  const exact = open && planned.layer.columns <= widestForObc ? await solve('obc') : sparse;
  return factored.map((each, i) => best([each, sparse[i], exact[i]]));
}

/** The solution of least error. */
function best(solutions: readonly LayerSolution[]): LayerSolution {
  return solutions.reduce((least, each) => (each.error < least.error ? each : least));
}

/** A B of each group, stacked: rows x columns. */
export function productOf({ factors }: Pick<LayerSolution, 'factors'>, groups: number, compute: Compute): Matrix {
  const [a, b] = factors as [Matrix, Matrix | undefined];
  if (!b) return a;
  const product = zeros(a.rows, b.columns);
  for (let group = 0; group < groups; group++)
    compute.gemm(groupRows(a, groups, group), groupRows(b, groups, group), groupRows(product, groups, group));
  return product;
}

/** c of y = V x + c for each use; undefined where the constants stay. */
export function offsetsOf(
  { layer, outputs, weight, centered }: PlannedLayer,
  statistics: LayerStatistics,
  product: Matrix,
): Float64Array[] | undefined {
  if (!centered) return undefined;
  const { groups } = layer;
  return statistics.map((ofGroups, use) => {
    const { offset } = outputs[use]!;
    const size = layer.rows / groups;
    const parts = ofGroups.map((each, group) =>
      fittedOffset(groupRows(product, groups, group), each, {
        weight: groupRows(weight, groups, group),
        offset: offset.subarray(group * size, (group + 1) * size),
      }),
    );
    return Float64Array.from(parts.flatMap((part) => [...part]));
  });
}

/** Factors with the scales of A's columns and B's rows alike, so that half precision can hold both. */
export function balanced(factors: readonly Matrix[], groups: number): readonly Matrix[] {
  const [a, b] = factors as [Matrix, Matrix | undefined];
  if (!b) return factors;
  const parts = Array.from({ length: groups }, (_, group) =>
    balanceScales(groupRows(a, groups, group), groupRows(b, groups, group)),
  );
  return stackGroups(parts.map((part) => [part.a, part.b]));
}
