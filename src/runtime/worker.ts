import { parentPort, workerData } from 'node:worker_threads';
import { type PostedError, postedError } from '../errors.js';
import { createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import type { LlamaConfig } from '../models/llama/config.js';
import type { RotaryTable } from '../models/llama/rope.js';
import { Barrier, barrierWords } from './barrier.js';
import { Forward } from './forward.js';
import type { ModelLayout } from './layout.js';

/** What each thread of a runtime gets. */
export interface RuntimeWorkerData {
  readonly config: LlamaConfig;
  readonly layout: ModelLayout;
  readonly rotary: RotaryTable;
  readonly memory: WebAssembly.Memory;
  readonly kernels: WebAssembly.Module;
  readonly engine: EngineChoice;
  readonly thread: number;
  readonly threads: number;
}

/** Ids to append behind `position`; `all` receives the logits of each, see {@link Forward.run}. */
export interface RuntimeJob {
  readonly ids: Uint32Array;
  readonly position: number;
  readonly all?: Float32Array;
}

export type RuntimeAnswer = { readonly done: true } | { readonly error: PostedError };

const data = workerData as RuntimeWorkerData;
const barrier = new Barrier(new Int32Array(data.memory.buffer, data.layout.barrier, barrierWords), data.threads);
let forward: Forward | undefined;

parentPort?.on('message', ({ ids, position, all }: RuntimeJob) => {
  let answer: RuntimeAnswer = { done: true };
  try {
    if (forward === undefined) {
      const engine = createChosenEngine(data.engine);
      // Each thread calls it for its own share.
      engine.setThreads(1);
      forward = new Forward({ ...data, engine, barrier });
    }
    forward.run(ids, position, all);
  } catch (error) {
    barrier.break();
    answer = { error: postedError(error) };
  }
  parentPort?.postMessage(answer);
});
