import { Worker } from 'node:worker_threads';
import { DoubleSparseError, receivedError } from '../errors.js';
import { workerFile } from '../worker-file.js';
import { untilStarted, watchStart } from '../worker-pool.js';
import { anotherFailed } from './barrier.js';
import type { ModelLayout } from './layout.js';
import type { RuntimeAnswer, RuntimeJob, RuntimeMessage, RuntimeWorkerData, ThreadStarted } from './worker.js';

/** A thread allocates no more than some objects a call: small young generations keep tens of megabytes from being touched. */
const resourceLimits = { maxYoungGenerationSizeMb: 1 };

/** The threads of a runtime. They sleep between jobs, and do not keep the process alive then. */
export class WorkerTeam {
  readonly #workers: readonly Worker[];

  constructor(threads: number, data: Omit<RuntimeWorkerData, 'thread' | 'threads'>) {
    const file = workerFile('runtime/worker.js');
    this.#workers = Array.from({ length: threads }, (_, thread) => {
      const workerData: RuntimeWorkerData = { ...data, thread, threads };
      const worker = new Worker(file, { workerData, resourceLimits });
      worker.unref();
      watchStart(worker);
      return worker;
    });
  }

  /** Once, before the first {@link run}: ends when all threads have their kernels and engine. @throws as that */
  prepare(layout: ModelLayout): Promise<void> {
    return this.#askAll({ layout });
  }

  /** Ends when all threads have. @throws DoubleSparseError `worker-failed`, or what a thread threw */
  run(job: RuntimeJob): Promise<void> {
    return this.#askAll(job);
  }

  async #askAll(message: RuntimeMessage): Promise<void> {
    const answers = await Promise.all(this.#workers.map((worker) => ask(worker, message)));
    const errors = answers.flatMap((answer) => ('error' in answer ? [answer.error] : []));
    // Threads that waited for the one that failed say so alone.
    const cause = errors.find(({ message }) => message !== anotherFailed) ?? errors[0];
    if (cause) throw receivedError(cause);
  }

  async close(): Promise<void> {
    await untilStarted(this.#workers);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

function ask(worker: Worker, message: RuntimeMessage): Promise<RuntimeAnswer> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      worker.unref();
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
    };
    const onMessage = (answer: RuntimeAnswer | ThreadStarted): void => {
      if ('started' in answer) return;
      settle();
      resolve(answer);
    };
    const onError = (cause: unknown): void => {
      settle();
      reject(new DoubleSparseError('worker-failed', `a thread of the runtime failed: ${cause}`, { cause }));
    };
    const onExit = (): void => onError('it ended');
    worker.ref();
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage(message);
  });
}
