import { existsSync } from 'node:fs';
import { SafetensorsFile } from '../formats/safetensors/reader.js';
import { SafetensorsWriter } from '../formats/safetensors/writer.js';
import type { Matrix } from '../linalg/matrix.js';
import { sharedZeros } from '../linalg/shared-matrix.js';
import type { HiddenStates, SequenceBatch } from '../models/llama/hidden-states.js';
import type { CompressOptions } from './compress-options.js';

const blocksKey = 'blocks';
const tensorOf = (sequence: number): string => `hidden.${sequence}`;

/**
 * The hidden states of a run and the file that keeps them for a resumed one. The file has the same bytes wherever the
 * states themselves are, so that a run may go on with another limit.
 */
export interface KeptHiddenStates extends HiddenStates {
  /** Blocks behind which the states are: one more after each pass that replaces them. */
  readonly blocks: number;
  /** Starts before the first block. @param embed fills the states of a sequence. */
  start(embed: (sequence: number, target: Matrix) => void): void;
  /**
   * Goes on from the file if there is one and its states are behind no more than `most` blocks.
   * @throws DoubleSparseError `file-malformed`
   */
  restore(most: number): boolean;
  /**
   * Makes the file that of these states, atomically. A run killed before goes on with the older ones.
   * @throws DoubleSparseError `disk-full`, `file-unwritable`
   */
  save(): void;
  /** Gives up what was not saved. */
  close(): void;
}

export interface HiddenStatesShape {
  readonly sequences: number;
  /** Of each sequence. */
  readonly positions: number;
  readonly hiddenSize: number;
}

/** Bytes of the hidden states of all sequences. */
export const hiddenStatesBytes = ({ sequences, positions, hiddenSize }: HiddenStatesShape): number =>
  sequences * positions * hiddenSize * 4;

/** Bytes of hidden states that options allow in memory. */
export const hiddenStatesLimit = ({ hiddenStatesMemory }: Pick<CompressOptions, 'hiddenStatesMemory'>): number =>
  hiddenStatesMemory * 2 ** 20;

/** Sequences whose states are in memory at a time: all, or as many as fit, a multiple of the lanes, at least one each. */
export function sequencesInMemory(shape: HiddenStatesShape, limit: number, lanes: number): number {
  if (hiddenStatesBytes(shape) <= limit) return shape.sequences;
  const within = Math.floor(limit / hiddenStatesBytes({ ...shape, sequences: 1 }));
  return Math.min(shape.sequences, Math.max(lanes, within - (within % lanes)));
}

/**
 * Hidden states that are in memory if they take at most `limit` bytes; else in the file at `path`, read and written
 * in batches of as many sequences as the limit allows, at least one for each worker. While they pass through a block
 * there are two files.
 */
export function keptHiddenStates(path: string, shape: HiddenStatesShape, limit: number): KeptHiddenStates {
  return hiddenStatesBytes(shape) <= limit ? new StatesInMemory(path, shape) : new StatesInFile(path, shape, limit);
}

class StatesInMemory implements KeptHiddenStates {
  blocks = 0;
  /** What the file knows; embeddings are made faster than read. */
  #saved = 0;
  readonly #path: string;
  readonly #shape: HiddenStatesShape;
  readonly #hidden: readonly Matrix[];

  constructor(path: string, shape: HiddenStatesShape) {
    this.#path = path;
    this.#shape = shape;
    this.#hidden = Array.from({ length: shape.sequences }, () => sharedZeros(shape.positions, shape.hiddenSize));
  }

  start(embed: (sequence: number, target: Matrix) => void): void {
    for (const [sequence, target] of this.#hidden.entries()) embed(sequence, target);
  }

  restore(most: number): boolean {
    const stored = openStates(this.#path, most);
    if (!stored) return false;
    const { file, blocks } = stored;
    try {
      for (const [sequence, target] of this.#hidden.entries()) file.readMatrix(tensorOf(sequence), () => target);
    } finally {
      file.close();
    }
    this.blocks = blocks;
    this.#saved = blocks;
    return true;
  }

  *batches(_lanes: number, replace: boolean): Iterable<SequenceBatch> {
    yield { first: 0, hidden: this.#hidden };
    if (replace) this.blocks++;
  }

  save(): void {
    if (this.blocks === this.#saved) return;
    const writer = writerOf(this.#path, this.#shape, this.blocks);
    try {
      for (const [sequence, { data }] of this.#hidden.entries()) writer.writeFloats(tensorOf(sequence), data);
      writer.commit();
    } finally {
      writer.abort();
    }
    this.#saved = this.blocks;
  }

  close(): void {}
}

class StatesInFile implements KeptHiddenStates {
  blocks = 0;
  readonly #path: string;
  readonly #shape: HiddenStatesShape;
  readonly #limit: number;
  /** A whole file that has not got its name yet. */
  #unnamed: SafetensorsWriter | undefined;
  #room: Matrix[] = [];

  constructor(path: string, shape: HiddenStatesShape, limit: number) {
    this.#path = path;
    this.#shape = shape;
    this.#limit = limit;
  }

  start(embed: (sequence: number, target: Matrix) => void): void {
    const target = sharedZeros(this.#shape.positions, this.#shape.hiddenSize);
    const writer = writerOf(this.#path, this.#shape, 0);
    this.#unnamed = writer;
    for (let sequence = 0; sequence < this.#shape.sequences; sequence++) {
      embed(sequence, target);
      writer.writeFloats(tensorOf(sequence), target.data);
    }
  }

  restore(most: number): boolean {
    const stored = openStates(this.#path, most);
    stored?.file.close();
    this.blocks = stored?.blocks ?? 0;
    return stored !== undefined;
  }

  *batches(lanes: number, replace: boolean): Iterable<SequenceBatch> {
    this.save();
    const file = new SafetensorsFile(this.#path);
    const writer = replace ? writerOf(this.#path, this.#shape, this.blocks + 1) : undefined;
    try {
      const room = this.#roomFor(lanes);
      for (let first = 0; first < this.#shape.sequences; first += room.length) {
        const hidden = room.slice(0, this.#shape.sequences - first);
        for (const [i, target] of hidden.entries()) file.readMatrix(tensorOf(first + i), () => target);
        yield { first, hidden };
        for (const [i, { data }] of hidden.entries()) writer?.writeFloats(tensorOf(first + i), data);
      }
      writer?.flush();
      this.#unnamed = writer;
      if (replace) this.blocks++;
    } finally {
      file.close();
      // Errors come here, and a pass that is given up.
      if (this.#unnamed !== writer) writer?.abort();
    }
  }

  save(): void {
    this.#unnamed?.commit();
    this.#unnamed = undefined;
  }

  close(): void {
    this.#unnamed?.abort();
    this.#unnamed = undefined;
  }

  /** Memory of a batch, the same at every pass. */
  #roomFor(lanes: number): readonly Matrix[] {
    if (this.#room.length > 0) return this.#room;
    const { positions, hiddenSize } = this.#shape;
    const length = sequencesInMemory(this.#shape, this.#limit, lanes);
    this.#room = Array.from({ length }, () => sharedZeros(positions, hiddenSize));
    return this.#room;
  }
}

function writerOf(path: string, { sequences, positions, hiddenSize }: HiddenStatesShape, blocks: number) {
  const tensors = Array.from({ length: sequences }, (_, sequence) => ({
    name: tensorOf(sequence),
    dtype: 'F32',
    shape: [positions, hiddenSize],
  }));
  return new SafetensorsWriter(path, tensors, { [blocksKey]: String(blocks) });
}

/** The file, unless it is missing or behind more than `most` blocks. */
function openStates(path: string, most: number): { file: SafetensorsFile; blocks: number } | undefined {
  if (!existsSync(path)) return undefined;
  const file = new SafetensorsFile(path);
  const blocks = Number(file.header.metadata.get(blocksKey));
  if (blocks <= most) return { file, blocks };
  file.close();
  return undefined;
}
