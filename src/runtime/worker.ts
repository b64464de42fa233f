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

/** The layout comes first, and once. */
export type RuntimeMessage = { readonly layout: ModelLayout } | RuntimeJob;

/** What a thread says first, unasked. */
export interface ThreadStarted {
  readonly started: true;
}

export type RuntimeAnswer = { readonly done: true } | { readonly error: PostedError };

const data = workerData as RuntimeWorkerData;
let run: ((job: RuntimeJob) => void) | undefined;

parentPort?.on('message', (message: RuntimeMessage) => {
  let answer: RuntimeAnswer = { done: true };
  try {
    if ('layout' in message) run = prepared(message.layout);
    else run?.(message);
  } catch (error) {
    answer = { error: postedError(error) };
  }
  parentPort?.postMessage(answer);
});

parentPort?.postMessage({ started: true } satisfies ThreadStarted);

function prepared(layout: ModelLayout): (job: RuntimeJob) => void {
  const engine = createChosenEngine(data.engine);
  // Each thread calls it for its own share.
  engine.setThreads(1);
  const barrier = new Barrier(new Int32Array(data.memory.buffer, layout.barrier, barrierWords), data.threads);
  const forward = new Forward({ ...data, layout, engine, barrier });
  return ({ ids, position, all }) => {
    try {
      forward.run(ids, position, all);
    } catch (error) {
      barrier.break();
      throw error;
    }
  };
}
