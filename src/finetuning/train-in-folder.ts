import { existsSync } from 'node:fs';
import type { RunFolder } from '../compression/run-folder.js';
import type { Sums } from '../training/training-lane.js';
import type { FinetuneEvent, FinetuneResult } from './finetune-events.js';
import { TrainingRun, type TrainingRunOptions, type TrainingTask } from './training-run.js';

/** What a run does beside training. */
export interface RunSteps<Example, S extends Sums> {
  /** Throws where the output cannot be written; a run that was refused leaves nothing behind. */
  readonly refuse: () => void;
  readonly openTask: () => Promise<TrainingTask<Example, S>>;
  readonly write: (values: Float32Array, result: FinetuneResult) => void;
}

/** Trains with state in a run folder, which goes when the model is written. Closes the folder and the task's pool. */
export async function trainInFolder<Example, S extends Sums>(
  folder: RunFolder,
  { refuse, openTask, write }: RunSteps<Example, S>,
  options: TrainingRunOptions,
  onEvent: (event: FinetuneEvent) => void,
): Promise<FinetuneResult> {
  let task: TrainingTask<Example, S> | undefined;
  try {
    try {
      refuse();
    } catch (error) {
      if (!folder.resumed) folder.remove();
      throw error;
    }
    task = await openTask();
    const run = new TrainingRun(task, folder, options, onEvent);
    const result = await run.train();
    folder.claimOutput();
    write(run.chosen, result);
    folder.remove();
    return result;
  } catch (error) {
    if (existsSync(folder.path)) folder.logFailure(error);
    throw error;
  } finally {
    folder.close();
    await task?.pool.close();
  }
}
