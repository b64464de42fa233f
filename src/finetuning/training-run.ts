import { createHash } from 'node:crypto';
import type { RunFolder } from '../compression/run-folder.js';
import { DoubleSparseError } from '../errors.js';
import { firstNonFinite } from '../linalg/finite.js';
import { learningRateAt, type Schedule } from '../training/learning-rate.js';
import type { Parameter } from '../training/parameter.js';
import type { TrainedValues } from '../training/trained-values.js';
import type { Sums, TrainingShare } from '../training/training-lane.js';
import { TrainingOrder } from '../training/training-order.js';
import type { TrainingPool } from '../training/training-pool.js';
import type { FinetuneEvent, FinetuneResult, StepResult } from './finetune-events.js';
import type { FinetuneOptions } from './finetune-options.js';
import { type Progress, readState, type StateArrays, statePathIn, writeState } from './training-state.js';

/** Milliseconds after which a checkpoint is due although fewer steps than `saveEvery` were made. */
const saveAfter = 5 * 60_000;
/** Most steps that a run puts into its log. */
const loggedSteps = 500;

/** What a run trains, on what. */
export interface TrainingTask<Example, S extends Sums> {
  readonly pool: TrainingPool<TrainingShare, Example, S>;
  readonly trained: TrainedValues;
  readonly parameters: readonly Parameter[];
  /** Number of examples to train on. */
  readonly examples: number;
  /** Those of a step, by their indices. @param epoch passes over the data before the first of them. */
  readonly read: (indices: readonly number[], epoch: number) => Promise<readonly Example[]>;
  readonly validation?: readonly Example[];
  /** Predictions of an example, which losses are means over. */
  readonly predictions: (example: Example) => number;
  /** What is minimised, of mean losses. */
  readonly lossOf: (means: S) => number;
}

/** Options of {@link TrainingRun}. */
export type TrainingRunOptions = Schedule &
  Pick<FinetuneOptions, 'force' | 'batch' | 'clip' | 'evaluateEvery' | 'patience' | 'saveEvery' | 'seed'>;

/** The loop over steps, with everything that its checkpoints hold. */
export class TrainingRun<Example, S extends Sums> {
  readonly #task: TrainingTask<Example, S>;
  readonly #folder: RunFolder;
  readonly #supports: string;
  readonly #options: TrainingRunOptions;
  readonly #onEvent: (event: FinetuneEvent) => void;
  readonly #arrays: StateArrays;
  /** The step of the last checkpoint. */
  #saved = 0;
  /** When that was, or the run began. */
  #savedAt = 0;
  /** The step of the last look. */
  #looked = -1;
  #interrupted = false;
  #progress: Progress = { step: 0, bestLoss: null, bestStep: 0, looksSince: 0 };

  constructor(
    task: TrainingTask<Example, S>,
    folder: RunFolder,
    options: TrainingRunOptions,
    onEvent: (event: FinetuneEvent) => void,
  ) {
    this.#task = task;
    this.#folder = folder;
    this.#supports = hashSupports(task.parameters);
    this.#options = options;
    this.#onEvent = onEvent;
    const { values, first, second } = task.trained;
    const best = new Float32Array(task.validation ? values.length : 0);
    this.#arrays = { values, first, second, best };
  }

  /** The values to write: the best on the validation data, or the last. */
  get chosen(): Float32Array {
    return this.#task.validation ? this.#arrays.best : this.#arrays.values;
  }

  /**
   * Trains to the end, from the last checkpoint on.
   * @throws DoubleSparseError `interrupted` when it was asked to stop, see {@link FinetuneEvent}; `non-finite-value`
   */
  async train(): Promise<FinetuneResult> {
    const begin = performance.now();
    const { steps, batch, patience, seed } = this.#options;
    const { pool, trained, examples, read, validation } = this.#task;
    this.#progress = this.#restore() ?? this.#progress;
    const resumedAt = this.#progress.step;
    this.#saved = resumedAt;
    this.#savedAt = begin;
    const stop = (): void => {
      this.#interrupted = true;
    };
    this.#report({ kind: 'start', trained: trained.values.length, lanes: pool.lanes, resumedAt, stop });
    await pool.expand();
    if (resumedAt === 0) await this.#look();
    const order = new TrainingOrder(examples, batch, seed);
    let stopped = this.#progress.looksSince >= patience;
    let predictions = 0;
    let chosen: readonly Example[] = [];
    while (this.#progress.step < steps && !stopped && !this.#interrupted) {
      const step = this.#progress.step + 1;
      chosen = await read(order.batch(step), Math.floor(((step - 1) * batch) / examples));
      const learningRate = learningRateAt(step, this.#options);
      // None is left of a batch of images that cannot be decoded.
      const result = chosen.length > 0 && (await this.#step(step, chosen, learningRate));
      predictions += this.#predictions(chosen);
      const seconds = (performance.now() - begin) / 1000;
      const secondsLeft = (seconds / (step - resumedAt)) * (steps - step);
      const predictionsPerSecond = predictions / seconds;
      if (result)
        this.#report({ kind: 'step', step, steps, learningRate, predictionsPerSecond, secondsLeft, ...result });
      this.#progress = { ...this.#progress, step };
      if (step % this.#options.evaluateEvery === 0 || step === steps) await this.#look();
      stopped = this.#progress.looksSince >= patience;
    }
    const { step, bestStep, bestLoss } = this.#progress;
    if (step > this.#saved) await this.#saveLast(chosen);
    if (step < steps && !stopped) throw this.#interruption();
    if (stopped) this.#report({ kind: 'stopped', step, bestStep });
    this.#checkSupports();
    this.#report({ kind: 'trained', step });
    return {
      steps: step,
      writtenStep: validation ? bestStep : step,
      validationLoss: bestLoss,
      trained: trained.values.length,
      resumedAt,
      seconds: (performance.now() - begin) / 1000,
    };
  }

  get #statePath(): string {
    return statePathIn(this.#folder.path);
  }

  #restore(): Progress | undefined {
    try {
      return readState(this.#statePath, this.#arrays);
    } catch (error) {
      const damaged = error instanceof DoubleSparseError && error.code === 'file-malformed';
      if (!damaged || !this.#options.force) throw error;
      this.#report({ kind: 'discarded', problem: error.message });
      return undefined;
    }
  }

  async #step(step: number, examples: readonly Example[], learningRate: number): Promise<StepResult> {
    const { pool, lossOf } = this.#task;
    const predictions = this.#predictions(examples);
    const { sums, gradientNorm } = await pool.gradient(examples, 1 / predictions);
    const means = meanOf(sums, predictions);
    const loss = lossOf(means);
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm))
      throw this.#diverged(step, `the loss is ${loss}, the norm of its gradient ${gradientNorm}`);
    // Behind the step before; only now it is known that its values give a finite loss.
    const { step: done } = this.#progress;
    const due = done % this.#options.saveEvery === 0 || performance.now() - this.#savedAt >= saveAfter;
    if (done > this.#saved && due) this.#save();
    await pool.update({ step, learningRate, gradientScale: Math.min(1, this.#options.clip / gradientNorm) });
    return { loss, means, gradientNorm };
  }

  /** Takes the loss on the validation data, if there are any, and keeps the values if it is the best. */
  async #look(): Promise<void> {
    const { pool, validation, lossOf } = this.#task;
    if (!validation) return;
    const { step, bestLoss, looksSince } = this.#progress;
    const means = meanOf(await pool.losses(validation), this.#predictions(validation));
    const loss = lossOf(means);
    if (!Number.isFinite(loss)) throw this.#diverged(step, `the loss on the validation data is ${loss}`);
    const best = bestLoss === null || loss < bestLoss;
    if (best) this.#arrays.best.set(this.#arrays.values);
    if (best) this.#progress = { step, bestLoss: loss, bestStep: step, looksSince: 0 };
    else this.#progress = { ...this.#progress, looksSince: looksSince + 1 };
    this.#looked = step;
    this.#report({ kind: 'validation', step, loss, means, best });
  }

  #predictions(examples: readonly Example[]): number {
    return examples.reduce((sum, example) => sum + this.#task.predictions(example), 0);
  }

  #save(): void {
    this.#checkSupports();
    writeState(this.#statePath, this.#progress, this.#arrays);
    this.#saved = this.#progress.step;
    this.#savedAt = performance.now();
    this.#report({ kind: 'checkpoint', step: this.#saved });
  }

  /** Saves values that no step follows to judge them. @param examples to take their loss on. */
  async #saveLast(examples: readonly Example[]): Promise<void> {
    const { step } = this.#progress;
    const index = firstNonFinite(this.#arrays.values);
    if (index >= 0) throw this.#diverged(step, `a value became ${this.#arrays.values[index]}`);
    if (this.#looked !== step && examples.length > 0) {
      const { pool, lossOf } = this.#task;
      const loss = lossOf(meanOf(await pool.losses(examples), this.#predictions(examples)));
      if (!Number.isFinite(loss)) throw this.#diverged(step, `the loss behind it is ${loss}`);
    }
    this.#save();
  }

  /** Positions never change; what is written must be what was read. */
  #checkSupports(): void {
    if (hashSupports(this.#task.parameters) === this.#supports) return;
    throw new DoubleSparseError('verification-failed', 'the supports of the trained matrices changed in memory', {
      hint: 'nothing was written; start the command again to go on from the last checkpoint',
    });
  }

  /** Tells the caller, and whoever finds the folder of a dead run. */
  #report(event: FinetuneEvent): void {
    this.#onEvent(event);
    const { kind, ...facts } = event;
    if (event.kind === 'step' && event.step % Math.ceil(event.steps / loggedSteps) !== 0) return;
    this.#folder.log({ event: kind, ...facts, ...(kind === 'step' && { memory: process.memoryUsage.rss() }) });
  }

  #interruption(): DoubleSparseError {
    const { step } = this.#progress;
    const { steps } = this.#options;
    const where =
      step === 0 ? 'before the first step' : `behind step ${step} of ${steps}, which is saved in ${this.#folder.path}`;
    return new DoubleSparseError('interrupted', `interrupted ${where}`, {
      data: { step, steps, path: this.#folder.path },
      hint: 'the same call goes on from there',
    });
  }

  #diverged(step: number, problem: string): DoubleSparseError {
    const saved = this.#saved;
    const { learningRate } = this.#options;
    const kept =
      saved > 0 ? `the checkpoint behind step ${saved} is in ${this.#folder.path}` : 'there is no checkpoint yet';
    return new DoubleSparseError('non-finite-value', `step ${step}: ${problem}`, {
      data: { step, saved, learningRate },
      hint: `a smaller --learning-rate helps (now ${learningRate}; with --force the run starts over); ${kept}`,
    });
  }
}

function meanOf<S extends Sums>(sums: S, predictions: number): S {
  return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / predictions])) as S;
}

function hashSupports(parameters: readonly Parameter[]): string {
  const hash = createHash('sha256');
  const seen = new Set<Uint32Array>();
  for (const { factors } of parameters) {
    for (const { rows, columns, offset, count, positions } of factors) {
      hash.update(`${rows} ${columns} ${offset} ${count};`);
      if (!positions || seen.has(positions)) continue;
      seen.add(positions);
      hash.update(new Uint8Array(positions.buffer, positions.byteOffset, positions.byteLength));
    }
  }
  return hash.digest('hex');
}
