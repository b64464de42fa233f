import type { Compute } from '../../linalg/compute.js';
import { blockOf } from '../../linalg/engine.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { LlamaKernels } from './kernels.js';

/** Queries whose scores are in memory at one time: enough rows for a fast product, few masked entries computed. */
const queryTile = 128;

export interface AttentionShape {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  /** Positions that each position sees, its own included; null for all before it. */
  readonly window: number | null;
}

/**
 * Causal attention of one sequence, head by head and tile of queries by tile, so that no more than
 * queryTile x positions scores exist. Query head h uses key/value head floor(h * keyValueHeads / heads).
 * @param queries positions x (heads * headSize), rotated; likewise keys and values with keyValueHeads.
 * @param output positions x (heads * headSize), overwritten.
 */
export function attend(
  compute: Compute,
  kernels: LlamaKernels,
  { heads, keyValueHeads, headSize, window }: AttentionShape,
  queries: Matrix,
  keys: Matrix,
  values: Matrix,
  output: Matrix,
): void {
  const positions = queries.rows;
  const group = heads / keyValueHeads;
  const reach = window ?? Number.POSITIVE_INFINITY;
  compute.scope(() => {
    const tile = Math.min(queryTile, positions);
    const scratch = compute.arena.vector(tile * Math.min(positions, reach + tile));
    const inverseSums = compute.arena.vector(tile);
    for (let from = 0; from < positions; from += tile) {
      const rows = Math.min(tile, positions - from);
      const firstKey = Math.max(0, from + 1 - reach);
      const columns = from + rows - firstKey;
      const scores: Matrix = { rows, columns, data: scratch.subarray(0, rows * columns) };
      for (let head = 0; head < heads; head++) {
        const shared = Math.floor(head / group) * headSize;
        const query = blockOf(queries, from, head * headSize, rows, headSize);
        compute.gemm(query, blockOf(keys, firstKey, shared, columns, headSize), scores, {
          transposeB: true,
          alpha: 1 / Math.sqrt(headSize),
        });
        kernels.causalExponentials(scores.data, rows, columns, from - firstKey + 1, reach, inverseSums);
        const target = blockOf(output, from, head * headSize, rows, headSize);
        compute.gemm(scores, blockOf(values, firstKey, shared, columns, headSize), target);
        // The weights are normalised here, where there are headSize numbers a row and not `columns`.
        for (let row = 0; row < rows; row++) {
          const scale = inverseSums[row] as number;
          const start = target.offset + row * target.stride;
          for (let i = start; i < start + headSize; i++) output.data[i] = (output.data[i] as number) * scale;
        }
      }
    }
  });
}
