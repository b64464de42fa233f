/**
 * WebAssembly instructions in the compiled inner loops of runtime/kernels, relaxed build, for eight positions of a
 * matrix; of `indexed` for eight values. The loop itself counts, constants and moves between locals do not; of a round
 * that computes two rows, half. Kernels are named by how a matrix lies in memory and the type of its values.
 */
export const instructionsPerEight = {
  'stored BF16': 16.5,
  'stored F16': 20.5,
  'stored F32': 28,
  'indexed BF16': 56,
  'indexed F16': 62,
  'dense BF16': 10.5,
  'dense F16': 15.5,
  'dense F32': 12,
} as const;

export type ProductKernel = keyof typeof instructionsPerEight;
export const productKernels = Object.keys(instructionsPerEight) as ProductKernel[];

/** Eights of positions (of values where indexed) that each kernel computes. */
export type KernelWork = Readonly<Partial<Record<ProductKernel, number>>>;

/** Instructions of all that work. */
export function instructionsOf(work: KernelWork): number {
  return weigh(work, instructionsPerEight);
}

/** The sum of work times weight. */
export function weigh(work: KernelWork, weights: Readonly<Record<ProductKernel, number>>): number {
  return productKernels.reduce((sum, kernel) => sum + (work[kernel] ?? 0) * weights[kernel], 0);
}
