import type { Worker } from 'node:worker_threads';
import { Piscina } from 'piscina';

/** Threads of all pools that have not said yet that they are ready. */
const starting = new Map<Worker, Promise<unknown>>();

/**
 * Ends when no thread of any pool is starting. A thread that is stopped while it loads its program can abort the whole
 * process: neither require() of a module nor the loading of a native library survives it (Node 20 to 24).
 */
export async function threadsStarted(): Promise<void> {
  while (starting.size > 0) await Promise.all(starting.values());
}

/** Waits for {@link threadsStarted} before these threads are stopped, which let the process end while they are idle. */
export async function untilStarted(threads: readonly Worker[]): Promise<void> {
  for (const thread of threads) thread.ref();
  await threadsStarted();
}

/** Threads that run the jobs of a program, one each at a time. */
export class WorkerPool<Job, Answer> {
  readonly #pool: Piscina<Job, Answer>;

  /** @param program a module whose exports are functions of a job; see `workerFile`. */
  constructor(program: URL, threads: number, workerData: unknown) {
    this.#pool = new Piscina({ filename: program.href, minThreads: threads, maxThreads: threads, workerData });
    const watch = (): void => {
      for (const thread of this.#pool.threads) watchStart(thread);
    };
    watch();
    // A thread that died is replaced behind this event.
    this.#pool.on('workerDestroy', () => queueMicrotask(watch));
  }

  /**
   * @param name of the program's export.
   * @throws what the job throws, or the reason for which its thread died.
   */
  run(job: Job, name = 'default'): Promise<Answer> {
    return this.#pool.run(job, { name });
  }

  /** Stops the threads, also in the middle of their jobs, but none that is starting. */
  async close(): Promise<void> {
    await untilStarted(this.#pool.threads);
    await this.#pool.destroy();
  }
}

const watched = new WeakSet<Worker>();

/** Counts a thread as starting until its first message, or its end. */
export function watchStart(thread: Worker): void {
  if (watched.has(thread)) return;
  watched.add(thread);
  const started = new Promise((resolve) => thread.once('message', resolve).once('exit', resolve));
  starting.set(
    thread,
    started.then(() => starting.delete(thread)),
  );
}
