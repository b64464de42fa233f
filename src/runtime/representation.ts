import { maskStride } from '../formats/container/bitmask.js';

/**
 * How the factors of a product lie in memory: `stored` as in the file (values and bitmask), `indexed` with column
 * numbers, `dense` as the product A·B in the stored type (rounded to it).
 */
export const representations = ['stored', 'indexed', 'dense'] as const;
export type Representation = (typeof representations)[number];

/** The representation of each product, by its name in the container. Survives JSON. */
export type RepresentationPlan = Readonly<Record<string, Representation>>;

/** What a plan depends on of a product. */
export interface ProductSizes {
  readonly name: string;
  /** A, or A and B. */
  readonly factors: readonly { readonly rows: number; readonly columns: number; readonly values: number }[];
  /** Bytes of a value. Only values of two bytes are indexed. */
  readonly valueBytes: number;
}

/** Nanoseconds of one thread, with matrices that come from memory (see `measureCosts`). Survives JSON. */
export interface RepresentationCosts {
  /** Of eight entries of a bitmask, and of a value beside it. */
  readonly maskByte: number;
  readonly maskedValue: number;
  readonly indexedValue: number;
  readonly denseValue: number;
}

/** Bytes of a product in a representation. */
export function representationBytes({ factors, valueBytes }: ProductSizes, representation: Representation): number {
  if (representation === 'dense') return denseEntries(factors) * valueBytes;
  const support = (rows: number, columns: number, values: number): number =>
    representation === 'stored' ? rows * maskStride(columns) : 2 * values;
  return factors.reduce(
    (sum, { rows, columns, values }) => sum + 4 * rows + values * valueBytes + support(rows, columns, values),
    0,
  );
}

/** Bytes and nanoseconds (one thread, one vector) of a product in a representation. */
export function representationCost(
  product: ProductSizes,
  representation: Representation,
  costs: RepresentationCosts,
): { bytes: number; nanoseconds: number } {
  const { factors } = product;
  const bytes = representationBytes(product, representation);
  if (representation === 'dense') return { bytes, nanoseconds: denseEntries(factors) * costs.denseValue };
  const nanoseconds = factors.reduce((sum, { rows, columns, values }) => {
    if (representation === 'indexed') return sum + values * costs.indexedValue;
    return sum + rows * maskStride(columns) * costs.maskByte + values * costs.maskedValue;
  }, 0);
  return { bytes, nanoseconds };
}

function denseEntries(factors: ProductSizes['factors']): number {
  return (factors[0]?.rows ?? 0) * (factors.at(-1)?.columns ?? 0);
}

/**
 * Time of one representation that counts as less than that of `stored`, as a part of it: a short measurement on a busy
 * machine must not decide, as each sums in another order.
 */
export const clearlyFaster = 0.85;

/**
 * The fastest representation of each product, all together in at most `memoryLimit` bytes: where the fastest take more,
 * those go back to smaller ones that lose the least time for each byte. The smallest, if none of it fits.
 * @param candidates default: those that compute with the stored values themselves.
 */
export function planRepresentations(
  products: readonly ProductSizes[],
  costs: RepresentationCosts,
  memoryLimit = Number.POSITIVE_INFINITY,
  candidates: readonly Representation[] = ['stored', 'indexed'],
): RepresentationPlan {
  const options = products.map((product) =>
    candidates
      .filter((representation) => representation !== 'indexed' || product.valueBytes === 2)
      .map((representation) => {
        const { bytes, nanoseconds } = representationCost(product, representation, costs);
        return { representation, bytes, nanoseconds: nanoseconds / (representation === 'stored' ? 1 : clearlyFaster) };
      })
      .sort((a, b) => a.nanoseconds - b.nanoseconds || a.bytes - b.bytes),
  );
  const chosen = options.map((list) => list[0]!);
  let total = chosen.reduce((sum, { bytes }) => sum + bytes, 0);
  const steps = options
    .flatMap((list, product) => {
      const [fastest, ...slower] = list;
      return slower
        .filter(({ bytes }) => bytes < fastest!.bytes)
        .map((option) => ({
          product,
          option,
          price: (option.nanoseconds - fastest!.nanoseconds) / (fastest!.bytes - option.bytes),
        }));
    })
    .sort((a, b) => a.price - b.price || a.product - b.product);
  for (const { product, option } of steps) {
    if (total <= memoryLimit) break;
    if (option.bytes >= chosen[product]!.bytes) continue;
    total += option.bytes - chosen[product]!.bytes;
    chosen[product] = option;
  }
  return Object.fromEntries(products.map(({ name }, i) => [name, chosen[i]!.representation]));
}
