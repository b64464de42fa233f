import type { Factorization } from '../factorization/factorization.js';
import { relativeLayerError } from '../factorization/layer-error.js';
import type { Compute } from '../linalg/compute.js';
import type { Matrix } from '../linalg/matrix.js';

/** Of an output with less energy than this part of the wanted one's, nothing is left that could be scaled. */
const vanishedEnergy = 1e-8;

/**
 * A factorization with every output scaled as fits best: row r of V = A B becomes s V_r, with
 * s = (W_r H V_r^T) / (V_r H V_r^T) of least error. Methods that choose values by least squares gain nothing; those that
 * only remove weights lose energy, which this gives back. No zero is filled, the first factor takes the scale.
 * @param weight out x in. @param gram in x in, H.
 */
export function withFittedScales(
  weight: Matrix,
  gram: Matrix,
  { factors, metrics }: Factorization,
  compute: Compute,
): Factorization {
  const [first, second] = factors as [Matrix, Matrix | undefined];
  if (first.columns === 0) return { factors, metrics };
  const { rows, columns } = weight;
  const scaled = compute.scope(() => {
    const product = compute.matrix(rows, columns);
    if (second) compute.gemm(first, second, product);
    else product.data.set(first.data);
    const seen = compute.matrix(rows, columns);
    compute.gemm(product, gram, seen);
    const wanted = compute.matrix(rows, columns);
    compute.gemm(weight, gram, wanted);
    const data = new Float32Array(first.data);
    for (let row = 0; row < rows; row++) {
      const [from, to] = [row * columns, (row + 1) * columns];
      let [own, cross, energy] = [0, 0, 0];
      for (let i = from; i < to; i++) {
        const w = weight.data[i] as number;
        own += (seen.data[i] as number) * (product.data[i] as number);
        cross += (seen.data[i] as number) * w;
        energy += (wanted.data[i] as number) * w;
      }
      if (!(own > vanishedEnergy * energy && cross > 0)) continue;
      const scale = cross / own;
      for (let k = row * first.columns; k < (row + 1) * first.columns; k++) data[k] = scale * (data[k] as number);
    }
    return { ...first, data };
  });
  const all = second ? [scaled, second] : [scaled];
  const relativeError = relativeLayerError(weight, gram, all, compute);
  // Of what fits to the last bit, rounding may be all that changes.
  return relativeError < metrics.relativeError
    ? { factors: all, metrics: { ...metrics, relativeError } }
    : { factors, metrics };
}
