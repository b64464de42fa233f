import type { Matrix } from '../../../src/linalg/matrix.js';
import type { TokenModel } from '../../../src/runtime/token-model.js';

/** A model whose likeliest next token is the next of a script, whatever the prompt; its cache holds ids alone. */
export class ScriptedModel implements TokenModel {
  readonly ids: number[] = [];
  /** Lengths of the calls of `extend`. */
  readonly calls: number[] = [];
  readonly vocabularySize: number;
  readonly capacity: number;
  readonly #script: readonly number[];
  readonly #logits: Float32Array;
  #promptLength: number | undefined;

  /** @param script the last id is repeated for ever. */
  constructor(script: readonly number[], { vocabularySize = 400, capacity = 10_000 } = {}) {
    this.#script = script;
    this.vocabularySize = vocabularySize;
    this.capacity = capacity;
    this.#logits = new Float32Array(vocabularySize);
  }

  get position(): number {
    return this.ids.length;
  }

  async extend(ids: ArrayLike<number>): Promise<Float32Array> {
    if (this.position + ids.length > this.capacity) throw new Error('the cache is full');
    this.calls.push(ids.length);
    this.ids.push(...Array.from(ids));
    if (ids.length > 1 || this.#promptLength === undefined) this.#promptLength = this.position;
    const next = this.position - this.#promptLength;
    // One array for all calls, as the interface allows.
    this.#logits.fill(0);
    this.#logits[this.#script[Math.min(next, this.#script.length - 1)] as number] = 5;
    return this.#logits;
  }

  extendAll(): Promise<Matrix> {
    throw new Error('not scripted');
  }

  truncate(position: number): void {
    this.ids.length = position;
    this.#promptLength = undefined;
  }

  async close(): Promise<void> {}
}
