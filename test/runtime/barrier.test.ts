import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { anotherFailed, Barrier, barrierWords } from '../../src/runtime/barrier.js';
import { workerFile } from '../../src/worker-file.js';

const words = () => new Int32Array(new SharedArrayBuffer(4 * barrierWords));

test('who comes to a broken barrier fails at once, and so does who waits already', async () => {
  const shared = words();
  const barrier = new Barrier(shared, 2);
  const waiting = waitElsewhere(shared);
  await waiting.arrived;
  barrier.break();
  expect(await waiting.result).toBe(anotherFailed);
  expect(await waitElsewhere(shared).result).toBe(anotherFailed);
  expect(() => barrier.wait()).toThrow(anotherFailed);
});

test('all threads leave together, time and again', async () => {
  const shared = words();
  const other = waitElsewhere(shared, 1000);
  const barrier = new Barrier(shared, 2);
  for (let i = 0; i < 1000; i++) barrier.wait();
  expect(await other.result).toBe('passed');
});

/** A thread that waits at a barrier of two. */
function waitElsewhere(shared: Int32Array, times = 1): { arrived: Promise<unknown>; result: Promise<unknown> } {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.file).then(({ Barrier }) => {
      const barrier = new Barrier(workerData.shared, 2);
      parentPort.postMessage('arrived');
      try {
        for (let i = 0; i < workerData.times; i++) barrier.wait();
        parentPort.postMessage('passed');
      } catch (error) {
        parentPort.postMessage(error.message);
      }
    });`;
  const file = workerFile('runtime/barrier.js').href;
  const worker = new Worker(source, { eval: true, workerData: { shared, times, file } });
  const message = (): Promise<unknown> => new Promise((resolve) => worker.once('message', resolve));
  const arrived = message();
  return { arrived, result: arrived.then(message) };
}
