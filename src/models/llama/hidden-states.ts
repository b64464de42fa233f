import type { Matrix } from '../../linalg/matrix.js';

/** Consecutive sequences whose hidden states are in memory at one time. */
export interface SequenceBatch {
  /** Number of the first of them among all sequences. */
  readonly first: number;
  /** positions x hiddenSize each, in shared memory. */
  readonly hidden: readonly Matrix[];
}

/** Hidden states of all sequences on their way through the blocks, of which a part at a time may be in memory. */
export interface HiddenStates {
  /**
   * All sequences in order. What a batch holds when the next one is asked for takes its place if `replace` is set.
   * @param lanes every batch but the last has a multiple of so many sequences.
   */
  batches(lanes: number, replace: boolean): Iterable<SequenceBatch>;
}
