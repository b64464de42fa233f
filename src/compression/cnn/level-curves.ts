import type { Effort } from '../../factorization/factorization.js';
import type { CnnResources } from './cnn-resources.js';
import type { CnnMethodName } from './options.js';
import type { PlannedLayer } from './planned-layer.js';
import { type LayerSolution, layerProblems, offsetsOf, productOf, solveByMethod } from './solve-layer.js';

/** A measured way to compress a layer. */
export interface MeasuredLevel {
  readonly nonzeros: number;
  /** Relative layer error; 0 for the dense layer. */
  readonly error: number;
}

/** Nonzeros of the levels as parts of the weights of a layer. */
const densities = [0.7, 0.5, 0.4, 0.3, 0.24, 0.18, 0.14, 0.11, 0.08, 0.06, 0.04, 0.025, 0.015];
/** Points between two measured levels. */
const between = 4;

/** A layer is weighed at the first level that loses so much of its outputs' energy: less drowns in rounding. */
const weighedError = 0.02;

export interface LevelCurve {
  /** Dense first. */
  readonly levels: readonly MeasuredLevel[];
  /** The solution of the level at which the layer is weighed, see budgets.ts, and its constants. */
  readonly weighed: LayerSolution;
  readonly offsets: readonly Float64Array[] | undefined;
}

/**
 * Errors of every layer at every level under the inputs of the dense model, as in the level database of Optimal Brain
 * Compression (arXiv 2208.11580, section 5). Wave by wave: so many inputs are in memory at a time.
 * @param onLayer called after each layer with the number of those that are done.
 */
export async function levelCurves(
  resources: CnnResources,
  method: CnnMethodName,
  options: { readonly effort: Effort; readonly seed: number },
  onLayer: (done: number) => void = () => {},
): Promise<Map<PlannedLayer, LevelCurve>> {
  const { waves, pool, compute } = resources;
  const curves = new Map<PlannedLayer, LevelCurve>();
  const measure = async (planned: PlannedLayer): Promise<void> => {
    const inputs = await resources.denseInputsOf(planned);
    const problems = layerProblems(planned, inputs, compute);
    const budgets = [...new Set(densities.map((density) => Math.max(2, Math.floor(density * planned.entries))))];
    const solutions = await solveByMethod(planned, problems, method, budgets, options, resources);
    const measured = solutions.map(({ error, energy }, i) => ({
      nonzeros: budgets[i],
      error: energy > 0 ? error / energy : 0,
    }));
    const weighed = solutions.at(measured.findIndex(({ error }) => error >= weighedError)) as LayerSolution;
    curves.set(planned, {
      levels: [{ nonzeros: planned.entries, error: 0 }, ...measured],
      weighed,
      offsets: offsetsOf(planned, inputs, productOf(weighed, planned.layer.groups, compute)),
    });
    onLayer(curves.size);
  };
  for (const wave of waves) {
    // The longest first; two for each worker, so that each has work without all matrices being in memory.
    const waiting = [...wave].sort((a, b) => costOf(b) - costOf(a));
    const lane = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await measure(next);
    };
    await Promise.all(Array.from({ length: 2 * pool.workers }, lane));
  }
  return curves;
}

const costOf = ({ layer, entries }: PlannedLayer): number => entries * layer.columns;

/** The curve with points between its levels: logarithms of errors are linear in those of the nonzeros. */
export function interpolated(levels: readonly MeasuredLevel[]): MeasuredLevel[] {
  return levels.flatMap((level, i) => {
    const next = levels[i + 1];
    if (!next) return [level];
    const points = Array.from({ length: level.error > 0 && next.error > 0 ? between : 0 }, (_, k): MeasuredLevel => {
      const part = (k + 1) / (between + 1);
      const nonzeros = Math.round(level.nonzeros ** (1 - part) * next.nonzeros ** part);
      return { nonzeros, error: level.error ** (1 - part) * next.error ** part };
    });
    return [level, ...points];
  });
}
