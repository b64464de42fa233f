import { expect, test } from 'vitest';
import { threadsStarted, WorkerPool } from '../src/worker-pool.js';

/** Threads that count themselves in when they have loaded their program, which takes a while. */
const program = new URL('slow-start-worker.mjs', import.meta.url);

function startPool(threads: number) {
  const loaded = new Int32Array(new SharedArrayBuffer(4));
  return { pool: new WorkerPool<string, string>(program, threads, { loaded }), loaded };
}

// Stopped before, one start in thirty ended the process with a fatal error of Node on a busy machine.
test('stops no thread that is starting', async () => {
  const { pool, loaded } = startPool(2);
  await pool.close();
  expect(loaded[0]).toBe(2);
});

test('stops no thread that is starting in place of one that died', async () => {
  const { pool, loaded } = startPool(1);
  expect(await pool.run('a job')).toBe('a job');
  await expect(pool.run('die', 'die')).rejects.toThrow('died');
  expect(loaded[0]).toBe(1);
  await pool.close();
  expect(loaded[0]).toBe(2);
});

test('knows when all threads have started', async () => {
  const pools = [startPool(1), startPool(2)];
  await threadsStarted();
  expect(pools.map(({ loaded }) => loaded[0])).toEqual([1, 2]);
  await Promise.all(pools.map(({ pool }) => pool.close()));
});
