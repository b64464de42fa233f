import { workerData } from 'node:worker_threads';
import { type PostedError, postedError } from '../errors.js';
import type { Factorization } from '../factorization/factorization.js';
import type { Compute } from '../linalg/compute.js';
import { createCompute } from '../linalg/create-compute.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import { type LayerJob, runLayerJob } from './cnn/layer-job.js';
import { type MatrixJob, type MemberResult, runMatrixJob } from './matrix-job.js';

export type WorkerAnswer<Results> = { results: Results } | { error: PostedError };

const { choice, blasThreads } = workerData as { choice: EngineChoice; blasThreads: number };
let compute: Compute | undefined;

/** Entry point of the pool's threads: engine and arena live as long as the thread. */
export default function work(job: MatrixJob): WorkerAnswer<MemberResult[]> {
  return answer((own) => runMatrixJob(job, own));
}

/** The other entry point. */
export function layer(job: LayerJob): WorkerAnswer<Factorization[]> {
  return answer((own) => runLayerJob(job, own));
}

function answer<Results>(run: (compute: Compute) => Results): WorkerAnswer<Results> {
  try {
    compute ??= createCompute(choice, blasThreads);
    // Another pool may have changed this number of the whole process meanwhile.
    compute.engine.setThreads(blasThreads);
    return { results: run(compute) };
  } catch (error) {
    return { error: postedError(error) };
  }
}
