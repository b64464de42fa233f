import { DoubleSparseError } from '../errors.js';
import type { Matrix } from '../linalg/matrix.js';
import type { LlamaConfig } from '../models/llama/config.js';
import { checkIds } from '../models/llama/embedding.js';
import type { ModelLayout } from './layout.js';
import type { RuntimeMemory } from './runtime-memory.js';
import type { TokenModel } from './token-model.js';
import type { WorkerTeam } from './worker-team.js';

/** A {@link TokenModel} whose work is done by a team of threads over one memory. */
export class ThreadedTokenModel implements TokenModel {
  readonly vocabularySize: number;
  readonly capacity: number;
  readonly #config: LlamaConfig;
  readonly #layout: ModelLayout;
  readonly #logits: Float32Array;
  readonly #team: WorkerTeam;
  #position = 0;
  /** Positions ever written since the cache was empty: what a ring of slots may have overwritten. */
  #written = 0;
  #last: Promise<unknown> = Promise.resolve();
  #failure: DoubleSparseError | undefined;

  constructor(config: LlamaConfig, layout: ModelLayout, memory: RuntimeMemory, team: WorkerTeam, capacity: number) {
    this.vocabularySize = config.vocabularySize;
    this.capacity = capacity;
    this.#config = config;
    this.#layout = layout;
    this.#logits = memory.floats(layout.logits, config.vocabularySize);
    this.#team = team;
  }

  get position(): number {
    return this.#position;
  }

  extend(ids: ArrayLike<number>): Promise<Float32Array> {
    return this.#enqueue(ids, undefined, () => this.#logits);
  }

  extendAll(ids: ArrayLike<number>): Promise<Matrix> {
    const shared = new SharedArrayBuffer(4 * ids.length * this.vocabularySize);
    const logits = { rows: ids.length, columns: this.vocabularySize, data: new Float32Array(shared) };
    return this.#enqueue(ids, logits.data, () => logits);
  }

  truncate(position: number): void {
    if (!Number.isInteger(position) || position < 0 || position > this.#position) {
      throw new DoubleSparseError('option-out-of-range', `cannot truncate ${this.#position} positions to ${position}`, {
        data: { position, positions: this.#position },
      });
    }
    const lost = this.#layout.blocks.some(({ slots }, layer) => {
      const window = this.#config.windows[layer] ?? null;
      // The next query sees window - 1 positions before its own; the oldest of them must still be in its slot.
      return window !== null && position > 0 && this.#written - slots > Math.max(0, position + 1 - window);
    });
    if (lost) {
      throw new DoubleSparseError(
        'option-out-of-range',
        `cannot truncate to ${position}: the sliding window has overwritten the positions before it`,
        { data: { position, positions: this.#position }, hint: 'truncate to 0 and extend by the whole text again' },
      );
    }
    this.#position = position;
    if (position === 0) this.#written = 0;
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    this.#failure ??= new DoubleSparseError('worker-failed', 'the model is closed');
    await this.#team.close();
  }

  #enqueue<T>(ids: ArrayLike<number>, all: Float32Array | undefined, result: () => T): Promise<T> {
    const own = Uint32Array.from(ids);
    const run = this.#last
      .catch(() => undefined)
      .then(async () => {
        this.#check(ids);
        if (own.length > 0) {
          try {
            await this.#team.run({ ids: own, position: this.#position, ...(all && { all }) });
          } catch (error) {
            // The threads may have stopped anywhere: the cache is not to be trusted.
            this.#failure = error as DoubleSparseError;
            throw error;
          }
        }
        this.#position += own.length;
        this.#written = Math.max(this.#written, this.#position);
        return result();
      });
    this.#last = run;
    return run;
  }

  #check(ids: ArrayLike<number>): void {
    if (this.#failure) throw this.#failure;
    checkIds(ids, this.vocabularySize);
    const end = this.#position + ids.length;
    if (ids.length > 0 && end <= this.capacity) return;
    const problem = ids.length === 0 ? 'there are no tokens to append' : `${end} positions do not fit the cache`;
    throw new DoubleSparseError('option-out-of-range', `${problem} (${this.capacity} positions)`, {
      data: { positions: end, capacity: this.capacity },
      hint: 'use a larger capacity, or fewer tokens',
    });
  }
}
