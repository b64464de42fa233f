import type { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import type { KernelBuild } from './kernels.js';
import { measureCosts } from './measure-costs.js';
import { productSizes } from './product-sizes.js';
import {
  type ProductSizes,
  planRepresentations,
  type Representation,
  type RepresentationCosts,
  type RepresentationPlan,
  representationBytes,
  representationCost,
  representations,
} from './representation.js';
import { maximumMemoryBytes, type RuntimeMemory } from './runtime-memory.js';
import { readTunedPlan, type TunedPlan, tuningKey } from './tuned-plan.js';

export interface PlanOptions {
  /**
   * Bytes that compressed weights may take (default: what they take as stored). Only with a limit of its own are
   * products also expanded to dense where that is faster: it rounds A·B to the stored type.
   */
  memory?: number;
  /** Bytes that the runtime has for them at most (default: all that it can have). */
  room?: number;
}

/** Measures this machine and finds the fastest representation of each product within the memory allowed. */
export function tunePlan(
  checkpoint: CompressedCheckpoint,
  kernels: KernelBuild,
  { memory, room = maximumMemoryBytes }: PlanOptions = {},
  scratch?: RuntimeMemory,
): TunedPlan {
  const products = productSizes(checkpoint);
  const total = (representation: Representation) => planBytes(products, () => representation);
  const type = [...checkpoint.products.values()].some(({ dtype }) => dtype === 'F16') ? 'F16' : 'BF16';
  const costs = measureCosts(kernels, { type, modelBytes: total('dense') }, scratch);
  const limit = Math.min(room, memory ?? total('stored'));
  const plan = planRepresentations(products, costs, limit, memory === undefined ? undefined : representations);
  return { version: 1, ...tuningKey(checkpoint, kernels), memory: memory ?? null, costs, plan };
}

/** Bytes of products in the representations that are chosen for them, by name. */
export function planBytes(products: readonly ProductSizes[], chosen: (name: string) => Representation): number {
  return products.reduce((sum, product) => sum + representationBytes(product, chosen(product.name)), 0);
}

export interface ChosenPlan {
  readonly plan: RepresentationPlan;
  /** From the file of `dsf tune`, measured now, or `stored` because nothing else fits the memory. */
  readonly source: 'tuned' | 'measured' | 'stored';
  /** Why a file of `dsf tune` that is there was not used. */
  readonly ignored?: string;
}

/** The plan stored beside the model if it was measured for this machine, model and memory, or one measured now, where there is a choice. */
export function choosePlan(
  checkpoint: CompressedCheckpoint,
  kernels: KernelBuild,
  options: PlanOptions,
  scratch: RuntimeMemory,
): ChosenPlan {
  const stored = readTunedPlan(checkpoint, kernels);
  if (stored && 'tuned' in stored && (options.memory ?? stored.tuned.memory) === stored.tuned.memory)
    return { plan: stored.tuned.plan, source: 'tuned' };
  const ignored = stored && 'ignored' in stored && { ignored: stored.ignored };
  const products = productSizes(checkpoint);
  const isSmallest = (product: ProductSizes): boolean =>
    representationBytes(product, 'stored') <= representationBytes(product, 'indexed');
  if (options.memory === undefined && products.every(isSmallest))
    return { plan: Object.fromEntries(products.map(({ name }) => [name, 'stored'])), source: 'stored', ...ignored };
  return { plan: tunePlan(checkpoint, kernels, options, scratch).plan, source: 'measured', ...ignored };
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
