import type { LinearProblem } from '../../calibration/linear-target.js';
import type { MethodName } from '../../factorization/registry.js';
import type { FloatType } from '../../formats/dtype.js';
import { countNonzeros, type Matrix, stackRows } from '../../linalg/matrix.js';
import { rewriteModel } from '../../models/cnn/rewrite.js';
import { allocatedBudgets, sensitivities, uniformBudgets } from './budgets.js';
import type { CnnResources } from './cnn-resources.js';
import { gatherWithTargets, type LayerStatistics } from './gather.js';
import { type LevelCurve, levelCurves } from './level-curves.js';
import type { CnnCompressOptions, CnnMethodName } from './options.js';
import type { PlannedLayer } from './planned-layer.js';
import { type CompressedLayer, rewritingOf, writtenFactors } from './replacement.js';
import {
  balanced,
  type LayerSolution,
  layerProblems,
  methodFor,
  offsetsOf,
  productOf,
  solveByMethod,
} from './solve-layer.js';

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
  /** Why it stays dense, or why it has another method than the one that was asked for. */
  readonly reason?: string;
}

export type CnnEvent =
  /** `lasting`: more than what is being done just now, to be seen afterwards too. */
  | { kind: 'status'; text: string; lasting?: true }
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

  /** That earlier runs spent on levels of a method, with the inputs of the dense model; undefined before. */
  secondsOf(method: CnnMethodName): number | undefined {
    return this.#known.get(method)?.seconds;
  }

  async of(method: CnnMethodName, { effort, seed }: CnnCompressOptions, report: (event: CnnEvent) => void) {
    const known = this.#known.get(method);
    if (known) return known;
    const status = (text: string): void => report({ kind: 'status', text });
    const [start, kept] = [performance.now(), this.#resources.keptSeconds];
    status('inputs of the dense model');
    const total = this.#resources.plan.layers.length;
    const curves = await levelCurves(this.#resources, method, { effort, seed }, (done) =>
      status(`levels of ${done} of ${total} layers measured`),
    );
    status('what layers do to the outputs');
    const weights = await sensitivities(this.#resources, curves);
    const made = { curves, weights, seconds: kept + (performance.now() - start) / 1000 };
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
  const { plan } = resources;
  for (const { planned, method: other, reason } of replacedMethods(plan.layers, options.method))
    report({ kind: 'status', text: `${planned.layer.name}: ${other}, ${reason}`, lasting: true });
  const budgets = await budgetsOf(resources, database, unitCosts, options, report);
  if (options.sequential === 'layer') resources.releaseInputs();
  const compressed: CompressedLayer[] = [];
  const results: CnnLayerResult[] = [];
  for (const [done, planned] of plan.layers.entries()) {
    const start = performance.now();
    const { layer, result } = await compressLayer(resources, planned, budgets.get(planned)!, compressed, options);
    if (layer) compressed.push(layer);
    results.push(result);
    const seconds = (performance.now() - start) / 1000;
    report({ kind: 'layer', done: done + 1, total: plan.layers.length, layer: result, seconds });
  }
  return { compressed, results };
}

/** @returns no layer where that of the model stays. */
async function compressLayer(
  resources: CnnResources,
  planned: PlannedLayer,
  budget: number,
  compressed: readonly CompressedLayer[],
  options: CnnCompressOptions,
): Promise<{ layer?: CompressedLayer; result: CnnLayerResult }> {
  const { model, images, gathering, compute } = resources;
  const { method, sparsity, sequential } = options;
  const { layer, entries } = planned;
  const { name, rows, columns, groups } = layer;
  const shape = { name, rows, columns, groups };
  const stays = (reason: string) => ({
    result: { ...shape, method: undefined, nonzeros: entries, relativeError: 0, reason },
  });
  const dense = budget >= entries;
  // Behind nothing that changed, and with its own inputs, a dense layer is right as it is.
  if (dense && (compressed.length === 0 || sequential === 'dense'))
    return stays(sparsity === 0 ? 'nothing is to be removed' : worthMore);
  const statistics: LayerStatistics =
    sequential === 'dense'
      ? await resources.denseInputsOf(planned)
      : await gatherWithTargets(model, prefixOf(resources, compressed), planned, images, gathering);
  const problems = layerProblems(planned, statistics, compute);
  const solution = dense
    ? denseSolution(problems)
    : ((await solveByMethod(planned, problems, method, [budget], options, resources))[0] as LayerSolution);
  const { error, energy } = solution;
  const factors = balanced(solution.factors, groups);
  const product = productOf({ factors }, groups, compute);
  const written = writtenFactors(planned, factors);
  const { storedType } = layer.weight;
  if (![...written, ...writtenFactors(planned, [product])].every((each) => fits(each, storedType)))
    return stays(`weights of a channel that is hardly seen would be too large for ${storedType}`);
  const reason = dense ? `${worthMore}; refitted to what is compressed before it` : methodFor(planned, method).reason;
  return {
    layer: { planned, factors, offsets: offsetsOf(planned, statistics, product) },
    result: {
      ...shape,
      method: solution.method,
      nonzeros: dense ? entries : written.reduce((sum, factor) => sum + countNonzeros(factor), 0),
      relativeError: energy > 0 ? error / energy : 0,
      ...(reason !== undefined && { reason }),
    },
  };
}

/** Largest fp16. */
const largestHalf = 65504;

/** Can these values be stored? */
function fits({ data }: Matrix, type: FloatType): boolean {
  const limit = type === 'F16' ? largestHalf : Number.MAX_VALUE;
  return data.every((value) => Math.abs(value) <= limit);
}

/** Layers that get another method than the one asked for. */
function replacedMethods(layers: readonly PlannedLayer[], method: CnnMethodName) {
  return layers
    .map((planned) => ({ planned, ...methodFor(planned, method) }))
    .filter(({ reason }) => reason !== undefined);
}

const worthMore = 'its nonzeros are worth more than those of others';

/** A layer that keeps all of its weights makes up for those before it. */
function denseSolution(problems: readonly LinearProblem[]) {
  return { method: undefined, factors: [stackRows(problems.map(({ weight }) => weight))], error: 0, energy: 0 };
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
  report: (event: CnnEvent) => void,
): Promise<Map<PlannedLayer, number>> {
  const { allocate, sparsity, method } = options;
  if (allocate === 'uniform' || sparsity === 0) return uniformBudgets(plan.layers, sparsity);
  const { curves, weights } = await database.of(method, options, report);
  return allocatedBudgets(plan.layers, curves, weights, unitCosts, sparsity);
}
