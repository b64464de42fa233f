import { parentPort, workerData } from 'node:worker_threads';
import type { MachineTrial, MachineWorkerData } from './measure-machine.js';
import { spreadOf } from './spread.js';
import { timeKernels } from './time-kernels.js';

const { bytes, kernels } = workerData as MachineWorkerData;
const rounds = 7;

/** Bytes a second at which the C library compares two buffers. */
function readingRate(a: Buffer, b: Buffer): number {
  const rates = Array.from({ length: rounds }, () => {
    const start = performance.now();
    if (!a.equals(b)) throw new Error('memory holds something else than was written');
    return (2000 * a.length) / (performance.now() - start);
  });
  return spreadOf(rates).median;
}

let buffers: [Buffer, Buffer] | undefined = [Buffer.alloc(bytes / 2, 1), Buffer.alloc(bytes / 2, 1)];
parentPort?.on('message', (trial: MachineTrial) => {
  if (trial === 'bandwidth' && buffers) {
    const rate = readingRate(...buffers);
    buffers = undefined;
    parentPort?.postMessage(rate);
  } else parentPort?.postMessage(timeKernels(kernels));
});
parentPort?.postMessage('ready');
