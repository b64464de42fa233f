import { DoubleSparseError } from '../../errors.js';
import { allocate, type Level } from '../../factorization/allocation/allocate.js';
import { nonzeroBudget } from '../../factorization/measure.js';
import { rewriteModel } from '../../models/cnn/rewrite.js';
import type { CnnResources } from './cnn-resources.js';
import { interpolated, type LevelCurve } from './level-curves.js';
import { OutputLoss } from './output-loss.js';
import type { PlannedLayer } from './planned-layer.js';
import { rewritingOf } from './replacement.js';
import { productOf } from './solve-layer.js';

/** Images on which the outputs are looked at to weigh the layers. */
const sensitivityImages = 256;

interface BudgetLevel extends Level {
  readonly nonzeros: number;
}

/**
 * What a relative error of each layer does to the outputs of the model: the output loss with this layer alone compressed,
 * divided by its layer error. The same for all layers where no output can be compared.
 */
export async function sensitivities(
  resources: CnnResources,
  curves: ReadonlyMap<PlannedLayer, LevelCurve>,
): Promise<Map<PlannedLayer, number>> {
  const { model, images, gathering, plan, compute } = resources;
  const outputs = resources.outputs.compared;
  if (outputs.length === 0) return new Map(plan.layers.map((planned) => [planned, 1]));
  const loss = await OutputLoss.open(model, images, { ...gathering, limit: sensitivityImages, outputs });
  const result = new Map<PlannedLayer, number>();
  try {
    for (const planned of plan.layers) {
      const { weighed, offsets } = curves.get(planned)!;
      const product = productOf(weighed, planned.layer.groups, compute);
      const rewriting = rewritingOf(model, [{ planned, factors: [product], offsets }]);
      const alone = rewriteModel(model, rewriting, { format: 'plain' }).model;
      result.set(planned, weighed.error > 0 ? ((await loss.of(alone)) * weighed.energy) / weighed.error : 0);
    }
  } finally {
    await loss.close();
  }
  return result;
}

/** Nonzeros of each layer, the same part of all. */
export function uniformBudgets(layers: readonly PlannedLayer[], sparsity: number): Map<PlannedLayer, number> {
  return new Map(layers.map((planned) => [planned, nonzeroBudget(planned.entries, sparsity)]));
}

/**
 * Nonzeros of each layer such that the sum of layer errors, each weighed by what it does to the outputs, is least at a
 * given total cost.
 * @param unitCosts of a nonzero of each layer.
 * @throws DoubleSparseError `option-out-of-range` for a sparsity that the sparsest levels do not reach
 */
export function allocatedBudgets(
  layers: readonly PlannedLayer[],
  curves: ReadonlyMap<PlannedLayer, LevelCurve>,
  weights: ReadonlyMap<PlannedLayer, number>,
  unitCosts: ReadonlyMap<PlannedLayer, number>,
  sparsity: number,
): Map<PlannedLayer, number> {
  const total = layers.reduce((sum, planned) => sum + planned.entries * unitCosts.get(planned)!, 0);
  const candidates = layers.map((planned) => ({
    layer: planned.layer.name,
    levels: interpolated(curves.get(planned)!.levels).map(({ nonzeros, error }): BudgetLevel => {
      return { nonzeros, cost: nonzeros * unitCosts.get(planned)!, error: error * weights.get(planned)! };
    }),
  }));
  const least = candidates.reduce((sum, { levels }) => sum + Math.min(...levels.map(({ cost }) => cost)), 0);
  const budget = (1 - sparsity) * total;
  if (budget < least) {
    const limit = Math.floor((1 - least / total) * 1000) / 1000;
    throw new DoubleSparseError(
      'option-out-of-range',
      `sparsity ${sparsity} is above the sparsest levels of the layers`,
      {
        data: { sparsity, limit },
        hint: `ask for ${limit} at most, or use --allocate uniform`,
      },
    );
  }
  const { chosen } = allocate(candidates, budget);
  return new Map(layers.map((planned, i) => [planned, chosen[i]!.nonzeros]));
}
