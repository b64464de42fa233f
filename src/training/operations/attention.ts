import { blockOf } from '../../linalg/engine.js';
import { type Matrix, rowsOf } from '../../linalg/matrix.js';
import { type AttentionShape, attend } from '../../models/llama/attention.js';
import type { Tape, Variable } from '../tape.js';
import type { OperationContext } from './context.js';

/** As in the forward pass: queries whose scores are in memory at one time. */
const queryTile = 128;

/**
 * Causal grouped-query attention of sequences below each other, O = softmax(Q K^T / sqrt(headSize)) V for each head.
 * The backward pass makes the weights P again, tile of queries by tile: dV = P^T dO, dP = dO V^T,
 * dS = P (dP - rowsum(P dP)), dQ = dS K / sqrt(headSize), dK = dS^T Q / sqrt(headSize).
 * @param queries (sequences * seqLen) x (heads * headSize), rotated; keys and values with keyValueHeads.
 */
export function attention(
  context: OperationContext,
  tape: Tape,
  shape: AttentionShape,
  [queries, keys, values]: readonly [Variable, Variable, Variable],
  seqLen: number,
): Variable {
  const { compute, forward } = context;
  const result = tape.variable(queries.value.rows, queries.value.columns);
  const inputs = [queries, keys, values];
  for (let row = 0; row < result.value.rows; row += seqLen) {
    const [q, k, v, o] = [...inputs, result].map(({ value }) => rowsOf(value, row, seqLen)) as Four;
    attend(compute, forward, shape, q, k, v, o);
  }
  tape.record(() => {
    const gradients = [...inputs, result].map((variable) => tape.gradientOf(variable));
    for (let row = 0; row < result.value.rows; row += seqLen) {
      const [q, k, v] = inputs.map(({ value }) => rowsOf(value, row, seqLen)) as [Matrix, Matrix, Matrix];
      const [toQ, toK, toV, g] = gradients.map((gradient) => rowsOf(gradient, row, seqLen)) as Four;
      attendBackward(context, shape, [q, k, v], [toQ, toK, toV], g);
    }
  });
  return result;
}

type Four = [Matrix, Matrix, Matrix, Matrix];

/** One sequence: adds to the gradients of q, k and v. */
function attendBackward(
  { compute, forward, backward }: OperationContext,
  { heads, keyValueHeads, headSize, window }: AttentionShape,
  [q, k, v]: readonly [Matrix, Matrix, Matrix],
  [toQ, toK, toV]: readonly [Matrix, Matrix, Matrix],
  gradient: Matrix,
): void {
  const positions = q.rows;
  const group = heads / keyValueHeads;
  const reach = window ?? Number.POSITIVE_INFINITY;
  const alpha = 1 / Math.sqrt(headSize);
  const tile = Math.min(queryTile, positions);
  compute.scope(() => {
    const size = tile * Math.min(positions, reach + tile);
    const [weightScratch, gradientScratch] = [compute.arena.vector(size), compute.arena.vector(size)];
    const inverseSums = compute.arena.vector(tile);
    for (let from = 0; from < positions; from += tile) {
      const rows = Math.min(tile, positions - from);
      const firstKey = Math.max(0, from + 1 - reach);
      const columns = from + rows - firstKey;
      const weights: Matrix = { rows, columns, data: weightScratch.subarray(0, rows * columns) };
      const scores: Matrix = { rows, columns, data: gradientScratch.subarray(0, rows * columns) };
      const sums = inverseSums.subarray(0, rows);
      for (let head = 0; head < heads; head++) {
        const shared = Math.floor(head / group) * headSize;
        const ofHead = (m: Matrix) => blockOf(m, from, head * headSize, rows, headSize);
        const ofKeys = (m: Matrix) => blockOf(m, firstKey, shared, columns, headSize);
        compute.gemm(ofHead(q), ofKeys(k), weights, { transposeB: true, alpha });
        forward.causalExponentials(weights.data, rows, columns, from - firstKey + 1, reach, sums);
        compute.gemm(ofHead(gradient), ofKeys(v), scores, { transposeB: true });
        backward.softmaxBackward(weights.data, scores.data, columns, sums);
        compute.gemm(weights, ofHead(gradient), ofKeys(toV), { transposeA: true, beta: 1 });
        compute.gemm(scores, ofKeys(k), ofHead(toQ), { alpha, beta: 1 });
        compute.gemm(scores, ofHead(q), ofKeys(toK), { transposeA: true, alpha, beta: 1 });
      }
    }
  });
}
