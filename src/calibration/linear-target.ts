import { invertPositiveDefinite, withDamping } from '../linalg/cholesky.js';
import type { Compute } from '../linalg/compute.js';
import { type Matrix, zeros } from '../linalg/matrix.js';
import type { InputStatistics } from './input-gram.js';

/** Inputs of a linear layer y = W x + b, and the weight that a compressed one should be near to. */
export interface LinearProblem {
  /** out x in, W*. */
  readonly weight: Matrix;
  /** Of the inputs, in x in, S. */
  readonly gram: Matrix;
}

/** Part of the mean variance of an input that is added to each, so that directions hardly seen keep their weights. */
const ridge = 1e-3;

/**
 * A variance below this part of the mean square is what fp32 sums leave of none, and may even be negative: such an input
 * is taken for a constant.
 */
const leastVariance = 2 ** -20;

/**
 * What to approximate a layer by so that its outputs come near to those wanted: for V x + c with c free,
 * the mean of |t - V x - c|^2 is tr((W* - V) S (W* - V)^T) and what no V changes, with S the covariance of the inputs,
 * C that of wanted outputs and inputs, and W* = W + (C - W S) (S + ridge)^-1. Without wanted outputs W* = W.
 * @param weight out x in, W.
 * @param uses statistics of each place where the weight is applied; they are averaged by their counts.
 * @param centered may c be chosen? Else S and C are means of products instead of covariances.
 */
export function linearProblem(
  weight: Matrix,
  uses: readonly InputStatistics[],
  centered: boolean,
  compute: Compute,
): LinearProblem {
  const { rows, columns } = weight;
  const gram = zeros(columns, columns);
  const cross = uses.every(({ target }) => target) ? zeros(rows, columns) : undefined;
  const total = uses.reduce((sum, { count }) => sum + count, 0);
  for (const { gram: products, mean, count, target } of uses) {
    const share = count / total;
    addCentered(gram, products, mean, centered ? mean : undefined, share);
    if (cross && target) addCentered(cross, target.cross, target.mean, centered ? mean : undefined, share);
  }
  if (centered) isolateConstants(weight, gram, cross, uses, total);
  if (!cross) return { weight, gram };
  return { weight: targetWeight(weight, gram, cross, compute), gram };
}

/** target += share (products - left right^T). */
function addCentered(
  target: Matrix,
  products: Matrix,
  left: Float64Array,
  right: Float64Array | undefined,
  share: number,
): void {
  const { rows, columns, data } = target;
  for (let i = 0, at = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++, at++) {
      const mean = right ? (left[i] as number) * (right[j] as number) : 0;
      data[at] = (data[at] as number) + share * ((products.data[at] as number) - mean);
    }
  }
}

/**
 * Gives inputs that do not vary the least variance that can be told, and no covariance; their weights stay as they are.
 */
function isolateConstants(
  weight: Matrix,
  gram: Matrix,
  cross: Matrix | undefined,
  uses: readonly InputStatistics[],
  total: number,
): void {
  const { columns, data } = gram;
  for (let i = 0; i < columns; i++) {
    const diagonal = i * columns + i;
    const square = uses.reduce(
      (sum, { gram: { data: own }, count }) => sum + (count / total) * (own[diagonal] as number),
      0,
    );
    const least = leastVariance * square;
    if ((data[diagonal] as number) >= least) continue;
    for (let j = 0; j < columns; j++) {
      data[i * columns + j] = 0;
      data[j * columns + i] = 0;
    }
    data[diagonal] = least;
    for (let row = 0; cross && row < cross.rows; row++)
      cross.data[row * columns + i] = (weight.data[row * columns + i] as number) * least;
  }
}

function targetWeight(weight: Matrix, gram: Matrix, cross: Matrix, compute: Compute): Matrix {
  const { rows, columns } = weight;
  let mean = 0;
  for (let i = 0; i < columns; i++) mean += (gram.data[i * columns + i] as number) / columns;
  if (!(mean > 0)) return weight;
  return compute.scope(() => {
    const damped = compute.matrix(columns, columns);
    damped.data.set(gram.data);
    for (let i = 0; i < columns; i++)
      damped.data[i * columns + i] = (gram.data[i * columns + i] as number) + ridge * mean;
    const inverse = withDamping(damped, compute, (each) => (invertPositiveDefinite(each, compute) ? each : undefined));
    const difference = compute.matrix(rows, columns);
    difference.data.set(cross.data);
    compute.gemm(weight, gram, difference, { alpha: -1, beta: 1 });
    const result = zeros(rows, columns);
    result.data.set(weight.data);
    compute.gemm(difference, inverse.result, result, { beta: 1 });
    return result;
  });
}

/**
 * The c of V x + c that makes the means of the outputs those wanted: E[t] - V E[x].
 * @param dense W and its offset, where there are no wanted outputs: W E[x] + b are then the means wanted.
 */
export function fittedOffset(
  compressed: Matrix,
  { mean, target }: InputStatistics,
  dense: { readonly weight: Matrix; readonly offset: Float64Array },
): Float64Array {
  const own = applied(compressed, mean);
  const wanted = target?.mean ?? applied(dense.weight, mean).map((value, i) => value + (dense.offset[i] as number));
  return own.map((value, i) => (wanted[i] as number) - value);
}

function applied({ rows, columns, data }: Matrix, x: Float64Array): Float64Array {
  const result = new Float64Array(rows);
  for (let i = 0, at = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < columns; j++) sum += (data[at++] as number) * (x[j] as number);
    result[i] = sum;
  }
  return result;
}
