import type { StoredMatrix } from './stored-matrix.js';

/** One product of a linear group: rows of the target from columns of the source. Offsets count floats. */
export interface ProductStep {
  readonly matrix: StoredMatrix;
  readonly sourceOffset: number;
  readonly targetOffset: number;
  /** Address, 0 for none. */
  readonly bias: number;
  /** Is the source the output of an inner step (A of A·B), not the input of the group? */
  readonly fromInner: boolean;
}

/** Linear layers of the same input. `inner` steps come first: the Bs of A·B, each once. */
export interface GroupSteps {
  readonly inner: readonly ProductStep[];
  readonly outer: readonly ProductStep[];
}

/** Addresses of one block's parts. */
export interface BlockLayout {
  readonly inputNorm: number;
  readonly postAttentionNorm: number;
  /** 0 where the model has none. */
  readonly queryNorm: number;
  readonly keyNorm: number;
  readonly qkv: GroupSteps;
  readonly output: GroupSteps;
  readonly gateUp: GroupSteps;
  readonly down: GroupSteps;
  /** keyValueHeads x slots x headSize floats each; position p is in slot p mod slots. */
  readonly keys: number;
  readonly values: number;
  readonly slots: number;
}

/** Rows of floats, one a position, `stride` floats apart. What lies between width and stride stays zero. */
export interface Activations {
  readonly address: number;
  readonly stride: number;
}

/** A model and its scratch in the runtime's memory. Plain data: it goes to worker threads as it is. */
export interface ModelLayout {
  readonly embedding: StoredMatrix;
  /** The embedding itself where the head is tied. */
  readonly head: StoredMatrix;
  readonly finalNorm: number;
  readonly blocks: readonly BlockLayout[];
  /** Positions computed at a time; rows of all activations. */
  readonly chunk: number;
  readonly hidden: Activations;
  readonly normed: Activations;
  readonly inner: Activations;
  /** Queries, keys and values of each position beside each other. */
  readonly qkv: Activations;
  readonly mixed: Activations;
  /** Gates, then from `upOffset` on what they multiply. */
  readonly gateUp: Activations;
  readonly upOffset: number;
  /** vocabularySize floats. */
  readonly logits: number;
  readonly barrier: number;
  /** Scratch of each thread. */
  readonly threads: readonly ThreadScratch[];
}

export interface ThreadScratch {
  /** fewPositions rows. */
  readonly normed: Activations;
  /** tileRows rows of the widest matrix. */
  readonly tile: number;
  readonly scores: number;
  readonly inverseSums: number;
}

/** Up to so many positions, products read the stored weights once for each; more go through expanded tiles. */
export const fewPositions = 2;
/** Rows of a weight that are expanded at a time. */
export const tileRows = 96;
/** Queries whose scores are in memory at a time. */
export const queryTile = 64;

/** Length of a vector with the zeros that kernels read behind it. */
export function padded(length: number): number {
  return Math.ceil(length / 8) * 8;
}
