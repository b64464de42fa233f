import { workerData } from 'node:worker_threads';
import { type PostedError, postedError } from '../errors.js';
import { createCompute } from '../linalg/create-compute.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import { type TrainingAnswer, type TrainingJob, TrainingLane, type TrainingShare } from './training-job.js';

/** What the pool gives each of its threads. */
export interface TrainingWorkerData {
  readonly choice: EngineChoice;
  readonly blasThreads: number;
  readonly share: TrainingShare;
}

export type PostedAnswer = TrainingAnswer | { readonly error: PostedError };

const { choice, blasThreads, share } = workerData as TrainingWorkerData;
let lane: TrainingLane | undefined;

/** Entry point of the pool's threads: engine and arena live as long as the thread. */
export default function work(job: TrainingJob): PostedAnswer {
  try {
    lane ??= new TrainingLane(share, createCompute(choice, blasThreads));
    return lane.run(job);
  } catch (error) {
    return { error: postedError(error) };
  }
}
