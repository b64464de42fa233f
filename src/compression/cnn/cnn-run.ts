import type { MethodName } from '../../factorization/registry.js';
import { rewriteModel } from '../../models/cnn/rewrite.js';
import { allocatedBudgets, sensitivities, uniformBudgets } from './budgets.js';
import type { CnnResources } from './cnn-resources.js';
import { gatherWithTargets, type LayerStatistics } from './gather.js';
import { type LevelCurve, levelCurves } from './level-curves.js';
import type { CnnCompressOptions, CnnMethodName } from './options.js';
import type { PlannedLayer } from './planned-layer.js';
import { type CompressedLayer, rewritingOf } from './replacement.js';
import { balanced, best, candidatesOf, layerProblems, offsetsOf, productOf, solveLayer } from './solve-layer.js';

/** What became of a layer. */
export interface CnnLayerResult {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  /** Undefined for a layer that stays dense. */
  readonly method: MethodName | undefined;
  readonly nonzeros: number;
  /** Relative layer error, with the inputs and wanted outputs that the layer was fitted to. */
  readonly relativeError: number;
  readonly reason?: string;
}

export type CnnEvent =
  | { kind: 'status'; text: string }
  | { kind: 'layer'; done: number; total: number; layer: CnnLayerResult; seconds: number };

/** Curves and weights of layers by method: what a comparison shares among sparsities. */
export class LevelDatabase {
  readonly #resources: CnnResources;
  readonly #known = new Map<
    CnnMethodName,
    { curves: Map<PlannedLayer, LevelCurve>; weights: Map<PlannedLayer, number>; seconds: number }
  >();

  constructor(resources: CnnResources) {
    this.#resources = resources;
  }

  /** That earlier runs spent on levels of a method, the inputs of the dense model aside. */
  secondsOf(method: CnnMethodName): number {
    return this.#known.get(method)?.seconds ?? 0;
  }

  async of(method: CnnMethodName, { effort, seed }: CnnCompressOptions) {
    const known = this.#known.get(method);
    if (known) return known;
    await this.#resources.denseInputs();
    const start = performance.now();
    const curves = await levelCurves(this.#resources, method, { effort, seed });
    const weights = await sensitivities(this.#resources, curves);
    const made = { curves, weights, seconds: (performance.now() - start) / 1000 };
    this.#known.set(method, made);
    return made;
  }
}

/**
 * Compresses the layers of a model one after another.
 * @param unitCosts of a nonzero of each layer.
 */
export async function compressLayers(
  resources: CnnResources,
  database: LevelDatabase,
  unitCosts: ReadonlyMap<PlannedLayer, number>,
  options: CnnCompressOptions,
  report: (event: CnnEvent) => void,
): Promise<{ compressed: CompressedLayer[]; results: CnnLayerResult[] }> {
  const { model, plan, images, gathering, compute } = resources;
  const { method, sparsity, sequential } = options;
  const budgets = await budgetsOf(resources, database, unitCosts, options);
  const compressed: CompressedLayer[] = [];
  const results: CnnLayerResult[] = [];
  for (const [done, planned] of plan.layers.entries()) {
    const start = performance.now();
    const { layer, entries } = planned;
    const budget = budgets.get(planned)!;
    const { name, rows, columns, groups } = layer;
    const shape = { name, rows, columns, groups };
    if (budget >= entries) {
      const reason = sparsity === 0 ? 'nothing is to be removed' : 'its nonzeros are worth more than those of others';
      results.push({ ...shape, method: undefined, nonzeros: entries, relativeError: 0, reason });
    } else {
      const statistics: LayerStatistics =
        sequential === 'dense'
          ? (await resources.denseInputs()).get(planned)!
          : await gatherWithTargets(model, prefixOf(resources, compressed), planned, images, gathering);
      const problems = layerProblems(planned, statistics, compute);
      const solutions = await Promise.all(
        candidatesOf(method, columns).map((each) => solveLayer(planned, problems, each, [budget], options, resources)),
      );
      const solution = best(solutions.flat());
      const offsets = offsetsOf(planned, statistics, productOf(solution, groups, compute));
      compressed.push({ planned, factors: balanced(solution.factors, groups), offsets });
      const { error, energy, nonzeros } = solution;
      results.push({ ...shape, method: solution.method, nonzeros, relativeError: energy > 0 ? error / energy : 0 });
    }
    const seconds = (performance.now() - start) / 1000;
    report({ kind: 'layer', done: done + 1, total: plan.layers.length, layer: results.at(-1)!, seconds });
  }
  return { compressed, results };
}

/** The model with the layers so far compressed, as products: what the next layer sees. */
function prefixOf({ model, compute }: CnnResources, compressed: readonly CompressedLayer[]) {
  const products = compressed.map(({ planned, factors, offsets }) => {
    const product = productOf({ factors }, planned.layer.groups, compute);
    return { planned, factors: [product], offsets };
  });
  return rewriteModel(model, rewritingOf(model, products), { format: 'plain' }).model;
}

async function budgetsOf(
  { plan }: CnnResources,
  database: LevelDatabase,
  unitCosts: ReadonlyMap<PlannedLayer, number>,
  options: CnnCompressOptions,
): Promise<Map<PlannedLayer, number>> {
  const { allocate, sparsity, method } = options;
  if (allocate === 'uniform' || sparsity === 0) return uniformBudgets(plan.layers, sparsity);
  const { curves, weights } = await database.of(method, options);
  return allocatedBudgets(plan.layers, curves, weights, unitCosts, sparsity);
}
