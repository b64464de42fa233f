import type { LinearProblem } from '../../calibration/linear-target.js';
import type { Effort } from '../../factorization/factorization.js';
import type { CnnResources } from './cnn-resources.js';
import type { CnnMethodName } from './options.js';
import type { PlannedLayer } from './planned-layer.js';
import { best, candidatesOf, type LayerSolution, layerProblems, solveLayer } from './solve-layer.js';

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

export interface LevelCurve {
  /** Dense first. */
  readonly levels: readonly MeasuredLevel[];
  readonly solutions: readonly LayerSolution[];
}

/**
 * Errors of every layer at every level under the inputs of the dense model, as in the level database of Optimal Brain
 * Compression (arXiv 2208.11580, section 5).
 */
export async function levelCurves(
  resources: CnnResources,
  method: CnnMethodName,
  options: { readonly effort: Effort; readonly seed: number },
  onLayer: (layer: PlannedLayer) => void = () => {},
): Promise<Map<PlannedLayer, LevelCurve>> {
  const inputs = await resources.denseInputs();
  const curves = await Promise.all(
    resources.plan.layers.map(async (planned): Promise<[PlannedLayer, LevelCurve]> => {
      const problems: LinearProblem[] = layerProblems(planned, inputs.get(planned)!, resources.compute);
      const budgets = [...new Set(densities.map((density) => Math.max(2, Math.floor(density * planned.entries))))];
      const candidates = candidatesOf(method, planned.layer.columns);
      const solved = await Promise.all(
        candidates.map((each) => solveLayer(planned, problems, each, budgets, options, resources)),
      );
      const solutions = budgets.map((_, level) => best(solved.map((each) => each[level]!)));
      onLayer(planned);
      const measured = solutions.map(({ error, energy }, i) => ({
        nonzeros: budgets[i]!,
        error: energy > 0 ? error / energy : 0,
      }));
      return [planned, { levels: [{ nonzeros: planned.entries, error: 0 }, ...measured], solutions }];
    }),
  );
  return new Map(curves);
}

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
