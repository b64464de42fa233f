import { Random } from '../linalg/random.js';

/**
 * The windows of a step: all of them once in an epoch, each epoch in another order. A function of the step, so that a
 * resumed run needs no more than its number.
 * @param step from 1 on.
 */
export class TrainingOrder {
  readonly #count: number;
  readonly #batch: number;
  readonly #seed: number;
  #epoch = -1;
  #order: number[] = [];

  /** @param count of the windows. */
  constructor(count: number, batch: number, seed: number) {
    this.#count = count;
    this.#batch = batch;
    this.#seed = seed;
  }

  batch(step: number): number[] {
    const first = (step - 1) * this.#batch;
    return Array.from({ length: this.#batch }, (_, i) => this.#at(first + i));
  }

  #at(place: number): number {
    const epoch = Math.floor(place / this.#count);
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#order = shuffled(this.#count, new Random(Math.imul(this.#seed, 0x9e3779b1) + epoch));
    }
    return this.#order[place % this.#count] as number;
  }
}

/** Fisher-Yates. */
function shuffled(count: number, random: Random): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}
