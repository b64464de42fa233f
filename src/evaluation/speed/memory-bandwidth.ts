import { Worker } from 'node:worker_threads';
import { DoubleSparseError } from '../../errors.js';
import { workerFile } from '../../worker-file.js';

/** Bytes a second that `threads` threads read from memory together, as the C library compares two buffers. */
export async function memoryBandwidth(threads: number): Promise<number> {
  const file = workerFile('evaluation/speed/bandwidth-worker.js');
  const rates = await Promise.all(
    Array.from(
      { length: threads },
      () =>
        new Promise<number>((resolve, reject) => {
          const failed = (cause: unknown): void =>
            reject(new DoubleSparseError('worker-failed', `the bandwidth could not be measured: ${cause}`, { cause }));
          new Worker(file).once('message', resolve).once('error', failed);
        }),
    ),
  );
  return rates.reduce((sum, rate) => sum + rate, 0);
}
