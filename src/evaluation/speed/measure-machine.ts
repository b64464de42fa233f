import { Worker } from 'node:worker_threads';
import { DoubleSparseError } from '../../errors.js';
import { compileKernels, fastestBuild } from '../../runtime/kernels.js';
import { workerFile } from '../../worker-file.js';
import { type ProductKernel, productKernels } from './product-kernels.js';

/** Bytes that all threads together read: more than the caches of a processor hold. */
const totalBytes = 384 * 2 ** 20;

/** What a thread is asked for, by all threads at a time. */
export type MachineTrial = 'bandwidth' | 'kernels';

export interface MachineWorkerData {
  /** Of both buffers. */
  readonly bytes: number;
  readonly kernels: WebAssembly.Module;
}

/** What the threads of a machine do at most. */
export interface MachineSpeed {
  /** Bytes a second that all threads read from memory together, as the C library compares two buffers. */
  readonly bandwidth: number;
  /** Of one thread while all compute, see {@link timeKernels}. */
  readonly nanosecondsPerEight: Readonly<Record<ProductKernel, number>>;
}

/**
 * Measures what `threads` threads reach together: less than a second.
 * @throws DoubleSparseError `worker-failed`
 */
export async function measureMachine(threads: number): Promise<MachineSpeed> {
  const file = workerFile('evaluation/speed/machine-worker.js');
  const workerData: MachineWorkerData = {
    // Whole pages, of which no two threads share one.
    bytes: Math.ceil(totalBytes / threads / 8192) * 8192,
    kernels: compileKernels(fastestBuild()),
  };
  const workers = Array.from({ length: threads }, () => new Worker(file, { workerData }));
  const trial = <T>(name: MachineTrial): Promise<T[]> => {
    const answers = workers.map((worker) => answerOf<T>(worker));
    for (const worker of workers) worker.postMessage(name);
    return Promise.all(answers);
  };
  try {
    await Promise.all(workers.map((worker) => answerOf(worker)));
    const rates = await trial<number>('bandwidth');
    const times = await trial<Record<ProductKernel, number>>('kernels');
    const mean = (kernel: ProductKernel): number => times.reduce((sum, each) => sum + each[kernel], 0) / threads;
    return {
      bandwidth: rates.reduce((sum, rate) => sum + rate, 0),
      nanosecondsPerEight: Object.fromEntries(
        productKernels.map((kernel) => [kernel, mean(kernel)]),
      ) as MachineSpeed['nanosecondsPerEight'],
    };
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function answerOf<T>(worker: Worker): Promise<T> {
  return new Promise((resolve, reject) => {
    const onMessage = (answer: T): void => {
      worker.off('error', onError);
      resolve(answer);
    };
    const onError = (cause: unknown): void => {
      worker.off('message', onMessage);
      reject(
        new DoubleSparseError('worker-failed', `the speed of the machine could not be measured: ${cause}`, { cause }),
      );
    };
    worker.once('message', onMessage).once('error', onError);
  });
}
