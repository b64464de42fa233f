import { workerData } from 'node:worker_threads';
import { type PostedError, postedError } from '../../errors.js';
import type { Compute } from '../../linalg/compute.js';
import { createCompute } from '../../linalg/create-compute.js';
import type { EngineChoice } from '../../linalg/engines/select.js';
import type { LlamaConfig } from './config.js';
import { type ForwardJob, runForwardJob } from './forward-job.js';

/** What the pool gives each of its threads. */
export interface ForwardWorkerData {
  readonly choice: EngineChoice;
  readonly blasThreads: number;
  readonly config: LlamaConfig;
}

/** Seconds that a job took, and how much of them its matrix products. */
export interface JobTimes {
  readonly seconds: number;
  readonly productSeconds: number;
  readonly flops: number;
}

export type ForwardAnswer = { readonly times: JobTimes } | { readonly error: PostedError };

const { choice, blasThreads, config } = workerData as ForwardWorkerData;
let compute: Compute | undefined;

/** Entry point of the pool's threads: engine and arena live as long as the thread. */
export default function work(job: ForwardJob): ForwardAnswer {
  const start = performance.now();
  try {
    compute ??= createCompute(choice, blasThreads);
    // Another pool may have changed this number of the whole process meanwhile.
    compute.engine.setThreads(blasThreads);
    const before = compute.products;
    runForwardJob(job, config, compute);
    const { seconds, flops } = compute.products;
    return {
      times: {
        seconds: (performance.now() - start) / 1000,
        productSeconds: seconds - before.seconds,
        flops: flops - before.flops,
      },
    };
  } catch (error) {
    return { error: postedError(error) };
  }
}
