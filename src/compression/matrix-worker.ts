import { workerData } from 'node:worker_threads';
import { DoubleSparseError, describeError, type ErrorCode, type ErrorData } from '../errors.js';
import { Compute } from '../linalg/compute.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import { type MatrixJob, type MemberResult, runMatrixJob } from './matrix-job.js';

/** An error in a form that survives the way between threads. */
export interface PostedError {
  code: ErrorCode;
  message: string;
  data: ErrorData;
  hint: string | undefined;
}

export type WorkerAnswer = { results: MemberResult[] } | { error: PostedError };

const { choice, blasThreads } = workerData as { choice: EngineChoice; blasThreads: number };
let compute: Compute | undefined;

/** Entry point of the pool's threads: engine and arena live as long as the thread. */
export default function work(job: MatrixJob): WorkerAnswer {
  try {
    if (!compute) {
      const engine = createChosenEngine(choice);
      engine.setThreads(blasThreads);
      compute = new Compute(engine);
    }
    return { results: runMatrixJob(job, compute) };
  } catch (error) {
    if (error instanceof DoubleSparseError) {
      const { code, message, data, hint } = error;
      return { error: { code, message, data, hint } };
    }
    return { error: { code: 'worker-failed', message: describeError(error), data: {}, hint: undefined } };
  }
}
