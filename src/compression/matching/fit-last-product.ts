import { meanCrossGram, meanGram } from '../../calibration/gram.js';
import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { SharedAllocation } from '../../linalg/shared-matrix.js';
import type { Parameter } from '../../training/parameter.js';
import { fitProduct } from './fit-product.js';
import { heldOutError, type MatchingPool, type PartExamples } from './match-part.js';
import type { OutputStatistics, PartShare } from './part-losses.js';

/** Most rounds over both factors; and the part of the error that one must bring for another. */
const [rounds, worthwhile] = [3, 0.005];
/**
 * Fits the last product of a part to the training windows by conjugate gradients on its supports, as long as the held-out
 * windows get better.
 * @param share that the pool has; its values are in the dense weights, before and afterwards.
 * @param before the held-out error of its values.
 * @param allocate gives sums of the lanes their memory.
 * @returns that of the values at the end; `before` where nothing was better, or finite.
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
  let error = before;
  for (let round = 0; round < rounds; round++) {
    const earlier = values.slice();
    fitProduct(values, product, { gram, cross }, compute);
    await pool.expand();
    const now = await heldOutError(pool, heldOut);
    if (!(now < error)) {
      values.set(earlier);
      await pool.expand();
      return error;
    }
    const enough = now > (1 - worthwhile) * error;
    error = now;
    if (enough) break;
  }
  return error;
}
