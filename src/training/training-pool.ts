import { postedError, receivedError } from '../errors.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import { workerFile } from '../worker-file.js';
import { WorkerPool } from '../worker-pool.js';
import type { UpdateOptions } from './trained-values.js';
import {
  addSums,
  type LaneData,
  type PostedAnswer,
  type Sums,
  type TrainingAnswer,
  type TrainingJob,
  type TrainingShare,
} from './training-lane.js';

export interface TrainingPoolOptions {
  /** Path of the lanes' program, see {@link workerFile}. */
  readonly program: string;
  readonly choice: EngineChoice;
  /** Cores to use. Lanes times BLAS threads of each never exceed it. */
  readonly threads: number;
  /** Most examples of a batch: there are no more lanes than that. */
  readonly examples: number;
}

/** Lanes of a pool. Sums are formed by them: bytes depend on their number. */
export const laneCount = ({ threads, examples }: Pick<TrainingPoolOptions, 'threads' | 'examples'>): number =>
  Math.max(1, Math.min(threads, examples));

/** BLAS threads of each lane, which sums depend on, too. */
export const blasThreadsOf = (size: Pick<TrainingPoolOptions, 'threads' | 'examples'>): number =>
  Math.max(1, Math.floor(size.threads / laneCount(size)));

/**
 * Threads that train together in shared memory, one for each lane. Example i of a batch belongs to lane i modulo lanes,
 * each lane has gradients of its own, and these are added in the order of the lanes: results depend on the number of
 * lanes, never on timing.
 */
export class TrainingPool<Share extends TrainingShare, Example, S extends Sums> {
  readonly lanes: number;
  readonly blasThreads: number;
  readonly #threads: readonly WorkerPool<TrainingJob<Share, Example>, PostedAnswer<S>>[];

  constructor({ program, choice, threads, examples }: TrainingPoolOptions) {
    this.lanes = laneCount({ threads, examples });
    this.blasThreads = blasThreadsOf({ threads, examples });
    const workerData: LaneData = { choice, blasThreads: this.blasThreads };
    this.#threads = Array.from({ length: this.lanes }, () => new WorkerPool(workerFile(program), 1, workerData));
  }

  /** Says what is trained from now on. */
  async share(share: Share): Promise<void> {
    await this.#run(() => ({ kind: 'share', share }));
  }

  /** Puts the values into the dense weights that the forward pass reads; needed after they were changed from outside. */
  async expand(): Promise<void> {
    await this.#run((lane) => ({ kind: 'expand', lane }));
  }

  /** Sums and gradients of a batch. The values are as before. @param scale factor of the loss in the gradients. */
  async gradient(examples: readonly Example[], scale: number): Promise<{ sums: S; gradientNorm: number }> {
    const answers = await this.#run((lane) => ({ kind: 'gradient', lane, examples: this.#own(examples, lane), scale }));
    const norms = await this.#run((lane) => ({ kind: 'sum', lane }));
    const squares = norms.reduce((sum, answer) => sum + answer.squares, 0);
    return { sums: sumsOf(answers), gradientNorm: Math.sqrt(squares) };
  }

  /** One step along the gradients, which are zero afterwards. */
  async update(options: UpdateOptions): Promise<void> {
    await this.#run((lane) => ({ kind: 'update', lane, ...options }));
  }

  /** Sums alone. */
  async losses(examples: readonly Example[]): Promise<S> {
    return sumsOf(await this.#run((lane) => ({ kind: 'loss', lane, examples: this.#own(examples, lane) })));
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#threads.map((thread) => thread.close()));
  }

  #own(examples: readonly Example[], lane: number): Example[] {
    return examples.filter((_, index) => index % this.lanes === lane);
  }

  async #run(job: (lane: number) => TrainingJob<Share, Example>): Promise<TrainingAnswer<S>[]> {
    // All of them end before an error is thrown: the caller may reuse the memory then.
    const answers = await Promise.allSettled(this.#threads.map((thread, lane) => thread.run(job(lane))));
    return answers.map((answer) => {
      if (answer.status === 'rejected') throw receivedError(postedError(answer.reason));
      if ('error' in answer.value) throw receivedError(answer.value.error);
      return answer.value;
    });
  }
}

function sumsOf<S extends Sums>(answers: readonly TrainingAnswer<S>[]): S {
  return addSums(answers.flatMap(({ sums }): readonly S[] => (sums ? [sums] : [])));
}
