import { DoubleSparseError } from '../errors.js';

/** What threads say that waited for the one that failed. */
export const anotherFailed = 'another thread has failed';

/** Words of shared memory that a barrier takes. */
export const barrierWords = 4;
const [arrived, generation, sleepers, broken] = [0, 1, 2, 3];

/** Looks at the word this often before it sleeps: some tens of microseconds, more than a step of a small model. */
const spins = 20_000;

/** Where a number of threads wait for each other: spinning at first, then asleep. */
export class Barrier {
  readonly #words: Int32Array;
  readonly #threads: number;

  /** @param words zeros in shared memory, the same in all threads. */
  constructor(words: Int32Array, threads: number) {
    this.#words = words;
    this.#threads = threads;
  }

  /** Returns when all threads have called it. @throws DoubleSparseError `worker-failed` when one called {@link break} */
  wait(): void {
    if (this.#threads === 1) return;
    const words = this.#words;
    const now = Atomics.load(words, generation);
    // Behind the load: a break from here on changes the generation.
    this.#requireAll();
    if (Atomics.add(words, arrived, 1) === this.#threads - 1) {
      Atomics.store(words, arrived, 0);
      Atomics.add(words, generation, 1);
      if (Atomics.load(words, sleepers) > 0) Atomics.notify(words, generation);
      return;
    }
    for (let spin = 0; Atomics.load(words, generation) === now; spin++) {
      if (spin < spins) continue;
      Atomics.add(words, sleepers, 1);
      Atomics.wait(words, generation, now);
      Atomics.sub(words, sleepers, 1);
    }
    this.#requireAll();
  }

  #requireAll(): void {
    if (Atomics.load(this.#words, broken) !== 0) throw new DoubleSparseError('worker-failed', anotherFailed);
  }

  /** Lets every thread that waits, or will wait, fail: this one cannot arrive any more. */
  break(): void {
    Atomics.store(this.#words, broken, 1);
    Atomics.add(this.#words, generation, 1);
    Atomics.notify(this.#words, generation);
  }
}
