import type { Matrix } from '../linalg/matrix.js';

/** A model with the keys and values of the positions so far. Calls wait for each other; one sequence at a time. */
export interface TokenModel {
  readonly vocabularySize: number;
  /** Positions the cache has room for. */
  readonly capacity: number;
  /** Positions in the cache. */
  readonly position: number;
  /**
   * Appends ids to the cache; logits (vocabularySize) behind the last of them. The array is overwritten by the next call.
   * @throws DoubleSparseError `option-out-of-range` (no ids, ids outside of the vocabulary, no room), `worker-failed`
   */
  extend(ids: ArrayLike<number>): Promise<Float32Array>;
  /**
   * Appends ids; logits behind each of them (ids.length x vocabularySize), for perplexity.
   * @throws DoubleSparseError as {@link extend}
   */
  extendAll(ids: ArrayLike<number>): Promise<Matrix>;
  /**
   * Forgets all positions from `position` on.
   * @throws DoubleSparseError `option-out-of-range`, also when a sliding window has overwritten what would be needed
   */
  truncate(position: number): void;
  close(): Promise<void>;
}
