import { workerData } from 'node:worker_threads';

Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
Atomics.add(workerData.loaded, 0, 1);

export default (job) => job;

export const die = () => {
  setImmediate(() => {
    throw new Error('died');
  });
  return new Promise(() => {});
};
