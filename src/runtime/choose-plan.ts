import type { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import type { KernelBuild } from './kernels.js';
import { measureCosts } from './measure-costs.js';
import { productSizes } from './product-sizes.js';
import {
  planRepresentations,
  type RepresentationCosts,
  type RepresentationPlan,
  representationCost,
  representations,
} from './representation.js';
import type { RuntimeMemory } from './runtime-memory.js';
import { readTunedPlan, type TunedPlan, tuningKey } from './tuned-plan.js';

/** A compressed model takes less memory than the dense one, whatever is faster. */
const defaultMemoryShare = 0.6;

export interface PlanOptions {
  /**
   * Bytes that compressed weights may take (default: 0.6 of the dense weights', or what they take as stored). Only with
   * a limit of its own are products also expanded to dense where that is faster: it rounds A·B to the stored type.
   */
  memory?: number;
}

/** Measures this machine and finds the fastest representation of each product within the memory allowed. */
export function tunePlan(
  checkpoint: CompressedCheckpoint,
  kernels: KernelBuild,
  { memory }: PlanOptions = {},
  scratch?: RuntimeMemory,
): TunedPlan {
  const products = productSizes(checkpoint);
  const denseBytes = products.reduce(
    (sum, { factors, valueBytes }) => sum + factors[0]!.rows * factors.at(-1)!.columns * valueBytes,
    0,
  );
  const costs = measureCosts(kernels, denseBytes, scratch);
  const plan =
    memory === undefined
      ? planRepresentations(products, costs, defaultMemoryShare * denseBytes)
      : planRepresentations(products, costs, memory, representations);
  return { version: 1, ...tuningKey(checkpoint, kernels), memory: memory ?? null, costs, plan };
}

export interface ChosenPlan {
  readonly plan: RepresentationPlan;
  /** From the file of `dsf tune`, or measured now. */
  readonly source: 'tuned' | 'measured';
  /** Why a file of `dsf tune` that is there was not used. */
  readonly ignored?: string;
}

/** The plan stored beside the model if it was measured for this machine, model and memory, or one measured now. */
export function choosePlan(
  checkpoint: CompressedCheckpoint,
  kernels: KernelBuild,
  options: PlanOptions,
  scratch: RuntimeMemory,
): ChosenPlan {
  const stored = readTunedPlan(checkpoint, kernels);
  if (stored && 'tuned' in stored && (options.memory ?? stored.tuned.memory) === stored.tuned.memory)
    return { plan: stored.tuned.plan, source: 'tuned' };
  const { plan } = tunePlan(checkpoint, kernels, options, scratch);
  return { plan, source: 'measured', ...(stored && 'ignored' in stored && { ignored: stored.ignored }) };
}

/** Products in each representation, with the bytes they take and the time that the costs give them (one thread). */
export function planTotals(
  checkpoint: CompressedCheckpoint,
  plan: RepresentationPlan,
  costs: RepresentationCosts,
): { representation: string; products: number; bytes: number; milliseconds: number }[] {
  return representations.flatMap((representation) => {
    const chosen = productSizes(checkpoint).filter(({ name }) => plan[name] === representation);
    const each = chosen.map((product) => representationCost(product, representation, costs));
    const bytes = each.reduce((sum, cost) => sum + cost.bytes, 0);
    const milliseconds = each.reduce((sum, cost) => sum + cost.nanoseconds, 0) / 1e6;
    return chosen.length === 0 ? [] : [{ representation, products: chosen.length, bytes, milliseconds }];
  });
}
