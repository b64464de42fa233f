import { meanCrossGram, meanGram } from '../../calibration/gram.js';
import type { Compute } from '../../linalg/compute.js';
import { diagonal, type Matrix } from '../../linalg/matrix.js';
import type { SharedAllocation } from '../../linalg/shared-matrix.js';
import type { Parameter } from '../../training/parameter.js';
import { fitProduct } from './fit-product.js';
import { heldOutError, type MatchingPool, type PartExamples } from './match-part.js';
import type { OutputStatistics, PartShare } from './part-losses.js';

/** Added to the curvature of every direction, as a part of the mean one: see {@link fitLastProduct}. */
const ridge = 1;

/**
 * Fits the last product of a part to the training windows by conjugate gradients on its supports, if the held-out windows
 * are better then than `before`. A ridge holds the values where they are: what the prefix has done is far more than what a
 * product can make up for, and a free fit follows its noise. With it the held-out error falls by 2 % at 24 windows of 1024
 * tokens, without it by half of a percent.
 * @param share that the pool has; its values are in the dense weights, before and afterwards.
 * @param before the held-out error to be beaten.
 * @param allocate gives sums of the lanes their memory.
 * @returns that of the values at the end; `before`, with the values as they were, where it was not better, or finite.
 */
export async function fitLastProduct(
  pool: MatchingPool,
  share: PartShare,
  product: Parameter,
  { training, heldOut }: PartExamples,
  before: number,
  compute: Compute,
  allocate: SharedAllocation,
): Promise<number> {
  const { values } = share.trained;
  const { rows, columns } = product.target;
  const sums = (name: string, height: number): Matrix => ({
    rows: height,
    columns,
    data: allocate(name, height * columns),
  });
  const lanes = Array.from({ length: pool.lanes }, (_, lane): OutputStatistics => {
    return {
      gram: sums(`Gram matrix of lane ${lane}`, columns),
      cross: sums(`cross Gram matrix of lane ${lane}`, rows),
    };
  });
  await pool.share({ ...share, statistics: lanes });
  await pool.losses(training);
  await pool.share(share);
  type Sums = [Matrix, ...Matrix[]];
  const gram = meanGram(lanes.map((each) => each.gram) as Sums, 1);
  const cross = meanCrossGram(lanes.map((each) => each.cross) as Sums, 1);
  holdBy(ridge, product.target, gram, cross);
  const earlier = values.slice();
  // The lanes wait meanwhile, and set their own number again.
  compute.engine.setThreads(pool.lanes * pool.blasThreads);
  fitProduct(values, product, { gram, cross }, compute);
  await pool.expand();
  const error = await heldOutError(pool, heldOut);
  if (error < before) return error;
  values.set(earlier);
  await pool.expand();
  return before;
}

/** Adds the error of a ridge around the weights W, `part` of the mean curvature of G: G + r, C + r W. */
function holdBy(part: number, weights: Matrix, gram: Matrix, cross: Matrix): void {
  const r = (part * diagonal(gram).reduce((sum, value) => sum + value, 0)) / gram.rows;
  for (let i = 0; i < gram.rows; i++) gram.data[i * gram.columns + i]! += r;
  for (const [i, weight] of weights.data.entries()) cross.data[i]! += r * weight;
}
