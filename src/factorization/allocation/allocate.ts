import { DoubleSparseError } from '../../errors.js';

/** One way to compress a layer. What else describes it (method, sparsity) goes along in the type. */
export interface Level {
  /** Nonzeros, or multiply-adds; 0 or more. */
  readonly cost: number;
  /** What is lost; layers are summed. */
  readonly error: number;
}

/** The ways to compress one layer: sparsities, methods, or both. */
export interface LayerLevels<L extends Level> {
  readonly layer: string;
  readonly levels: readonly L[];
}

export interface Allocation<L extends Level> {
  /** The level chosen for each layer, in their order. */
  readonly chosen: readonly L[];
  readonly cost: number;
  readonly error: number;
}

/** As in SPDY: steps of the budget. A layer's cost is rounded up to whole steps. */
const defaultSteps = 10_000;
const maximumSteps = 1_000_000;
/** A choice is stored in 16 bits. */
const maximumLevels = 65_535;

/**
 * One level for each layer with the least sum of errors at a total cost of at most `budget`: dynamic programming over
 * layers and discretised costs, as in SPDY (Frantar & Alistarh 2022) and Optimal Brain Compression (arXiv 2208.11580,
 * section 6). What the rounding of costs leaves of the budget is then spent on single layers, best gain first.
 *
 * Exact where costs are whole numbers and the budget exceeds the cheapest choice by at most `steps`; otherwise at least
 * as good as the best choice that costs (number of layers) steps less. Time: layers x levels x steps; memory: 2 bytes x
 * layers x steps, whatever the levels.
 * @param steps of what the budget exceeds the cheapest choice by (default 10,000).
 * @throws DoubleSparseError `option-out-of-range` (a budget below the cheapest choice; no layers or levels; steps),
 *   `non-finite-value` naming layer and level
 */
export function allocate<L extends Level>(
  layers: readonly LayerLevels<L>[],
  budget: number,
  { steps = defaultSteps }: { steps?: number } = {},
): Allocation<L> {
  checkSteps(steps);
  const candidates = layers.map(usefulLevels);
  const cheapest = sum(candidates.map(([level]) => (level as L).cost));
  checkBudget(layers, cheapest, budget);
  const slack = budget - cheapest;
  const whole = candidates.every((levels) => levels.every(({ cost }) => Number.isInteger(cost)));
  const step = whole && slack <= steps ? 1 : slack / steps;
  const extra = candidates.map((levels) => stepsOver(levels, step));
  const choices = choose(candidates, extra, slack > 0 ? Math.floor(slack / step + 1e-9) : 0);
  const chosen = candidates.map((levels, layer) => levels[choices[layer] as number] as L);
  spendRest(candidates, chosen, budget);
  return { chosen, cost: sum(chosen.map(({ cost }) => cost)), error: sum(chosen.map(({ error }) => error)) };
}

/** Levels that no other beats in both, cheapest first: errors decrease along them. */
function usefulLevels<L extends Level>({ layer, levels }: LayerLevels<L>): L[] {
  if (levels.length === 0 || levels.length > maximumLevels) {
    throw new DoubleSparseError('option-out-of-range', `${layer} has ${levels.length} levels: 1 to ${maximumLevels}`, {
      data: { layer, levels: levels.length, limit: maximumLevels },
    });
  }
  for (const [index, { cost, error }] of levels.entries()) {
    if (Number.isFinite(error) && Number.isFinite(cost) && cost >= 0) continue;
    throw new DoubleSparseError(
      'non-finite-value',
      `level ${index} of ${layer} has the cost ${cost}, the error ${error}`,
      {
        data: { layer, index, cost: String(cost), error: String(error) },
      },
    );
  }
  const useful: L[] = [];
  for (const level of [...levels].sort((a, b) => a.cost - b.cost || a.error - b.error)) {
    const last = useful.at(-1);
    if (last === undefined || level.error < last.error) useful.push(level);
  }
  return useful;
}

/** Steps that every level costs more than the cheapest one, rounded up: a sum never hides a cost. */
function stepsOver(levels: readonly Level[], step: number): number[] {
  const [first] = levels as [Level];
  // 0 / 0 when nothing but the cheapest choice fits.
  return levels.map(({ cost }) => (cost === first.cost ? 0 : Math.ceil((cost - first.cost) / step)));
}

/** The dynamic program. @returns for each layer the index of its level. */
function choose(candidates: readonly (readonly Level[])[], extra: readonly number[][], steps: number): number[] {
  // least[s]: sum of errors of the layers so far at s steps or fewer.
  let least = new Float64Array(steps + 1);
  let next = new Float64Array(steps + 1);
  const picks = candidates.map((levels, layer) => {
    const pick = new Uint16Array(steps + 1);
    next.fill(Number.POSITIVE_INFINITY);
    for (const [index, { error }] of levels.entries()) {
      const cost = (extra[layer] as number[])[index] as number;
      for (let s = cost; s <= steps; s++) {
        const total = (least[s - cost] as number) + error;
        if (total < (next[s] as number)) {
          next[s] = total;
          pick[s] = index;
        }
      }
    }
    [least, next] = [next, least];
    return pick;
  });
  let left = steps;
  const choices: number[] = [];
  for (let layer = candidates.length - 1; layer >= 0; layer--) {
    const index = (picks[layer] as Uint16Array)[left] as number;
    choices.push(index);
    left -= (extra[layer] as number[])[index] as number;
  }
  return choices.reverse();
}

/** Exchanges single levels for better ones that the budget still allows, the largest gain first. */
function spendRest<L extends Level>(candidates: readonly (readonly L[])[], chosen: L[], budget: number): void {
  for (;;) {
    // Fractions may add up to a hair above the budget.
    const rest = Math.max(0, budget - sum(chosen.map(({ cost }) => cost)));
    let best: { layer: number; level: L; gain: number } | undefined;
    for (const [layer, levels] of candidates.entries()) {
      const current = chosen[layer] as L;
      const level = levels.findLast(({ cost }) => cost - current.cost <= rest) as L;
      const gain = current.error - level.error;
      if (gain > (best?.gain ?? 0)) best = { layer, level, gain };
    }
    if (!best) return;
    chosen[best.layer] = best.level;
  }
}

function checkSteps(steps: number): void {
  if (Number.isInteger(steps) && steps >= 1 && steps <= maximumSteps) return;
  throw new DoubleSparseError(
    'option-out-of-range',
    `${steps} steps of the budget: 1 to ${maximumSteps} are possible`,
    {
      data: { option: 'steps', value: steps, limit: maximumSteps },
    },
  );
}

function checkBudget(layers: readonly unknown[], cheapest: number, budget: number): void {
  if (layers.length === 0) throw new DoubleSparseError('option-out-of-range', 'a budget for no layers');
  if (budget >= cheapest && Number.isFinite(budget)) return;
  throw new DoubleSparseError('option-out-of-range', `a budget of ${budget}: the cheapest choice costs ${cheapest}`, {
    data: { budget: String(budget), cheapest },
    hint: 'allow more, or measure sparser levels of the layers',
  });
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
