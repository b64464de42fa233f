import type { Matrix } from '../linalg/matrix.js';

/** A language model with a key/value cache: takes token ids, gives logits. */
export interface TokenModel {
  readonly vocabularySize: number;
  /** Positions the cache has room for. */
  readonly capacity: number;
  /** Positions in the cache. */
  readonly position: number;
  /** Appends ids to the cache; logits (vocabularySize) behind the last of them. The array is overwritten by the next call. */
  extend(ids: ArrayLike<number>): Promise<Float32Array>;
  /** Logits behind each of the ids (ids.length x vocabularySize), for perplexity. */
  extendAll(ids: ArrayLike<number>): Promise<Matrix>;
  /** Forgets all positions from `position` on. */
  truncate(position: number): void;
  close(): Promise<void>;
}
