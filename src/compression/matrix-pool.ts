import { postedError, receivedError } from '../errors.js';
import type { Factorization } from '../factorization/factorization.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import { workerFile } from '../worker-file.js';
import { WorkerPool } from '../worker-pool.js';
import type { LayerJob } from './cnn/layer-job.js';
import type { MatrixJob, MemberResult } from './matrix-job.js';
import type { WorkerAnswer } from './matrix-worker.js';

export interface MatrixPoolOptions {
  choice: EngineChoice;
  /** Cores to use. Worker threads times BLAS threads of each never exceed it. */
  threads: number;
  /** Most jobs that can run at one time; fewer workers then get more BLAS threads each. */
  jobs: number;
}

export interface PoolSize {
  readonly workers: number;
  readonly blasThreads: number;
}

/** Workers of a pool, and BLAS threads of each. @param jobs most that can run at one time. */
export function poolSize({ threads, jobs }: Omit<MatrixPoolOptions, 'choice'>): PoolSize {
  const workers = Math.max(1, Math.min(threads, jobs));
  return { workers, blasThreads: Math.max(1, Math.floor(threads / workers)) };
}

/** Worker threads that run {@link MatrixJob}s, one each at a time, with BLAS threads = cores / workers. */
export class MatrixPool {
  readonly workers: number;
  readonly blasThreads: number;
  readonly #pool: WorkerPool<MatrixJob | LayerJob, WorkerAnswer<unknown>>;

  constructor({ choice, ...options }: MatrixPoolOptions) {
    const { workers, blasThreads } = poolSize(options);
    this.workers = workers;
    this.blasThreads = blasThreads;
    const data = { choice, blasThreads: this.blasThreads };
    this.#pool = new WorkerPool(workerFile('compression/matrix-worker.js'), this.workers, data);
  }

  /**
   * @throws DoubleSparseError of the job, or `worker-failed` if its thread died.
   */
  run(job: MatrixJob): Promise<MemberResult[]> {
    return this.#run(job, 'default');
  }

  /** The same for a layer at several budgets. */
  runLayer(job: LayerJob): Promise<Factorization[]> {
    return this.#run(job, 'layer');
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #run<Results>(job: MatrixJob | LayerJob, name: string): Promise<Results> {
    const answer = await this.#pool.run(job, name).catch((cause: unknown) => ({ error: postedError(cause) }));
    if ('results' in answer) return answer.results as Results;
    throw receivedError(answer.error);
  }
}
