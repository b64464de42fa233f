import { Piscina } from 'piscina';
import { postedError, receivedError } from '../errors.js';
import type { Factorization } from '../factorization/factorization.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import { workerFile } from '../worker-file.js';
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
  readonly #pool: Piscina;

  constructor({ choice, ...options }: MatrixPoolOptions) {
    const { workers, blasThreads } = poolSize(options);
    this.workers = workers;
    this.blasThreads = blasThreads;
    this.#pool = new Piscina({
      filename: workerFile('compression/matrix-worker.js').href,
      minThreads: this.workers,
      maxThreads: this.workers,
      workerData: { choice, blasThreads: this.blasThreads },
    });
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
    await this.#pool.destroy();
  }

  async #run<Results>(job: MatrixJob | LayerJob, name: string): Promise<Results> {
    const answer: WorkerAnswer<Results> = await this.#pool
      .run(job, { name })
      .catch((cause: unknown) => ({ error: postedError(cause) }));
    if ('results' in answer) return answer.results;
    throw receivedError(answer.error);
  }
}
