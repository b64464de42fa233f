import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { LoadedWindows } from '../calibration/load-windows.js';
import type { RunFolder } from '../compression/run-folder.js';
import { DoubleSparseError } from '../errors.js';
import { firstNonFinite } from '../linalg/finite.js';
import type { Trainee } from './collect-parameters.js';
import type { FinetuneOptions } from './finetune-options.js';
import { learningRateAt } from './learning-rate.js';
import type { Parameter } from './parameter.js';
import { TrainingOrder } from './training-order.js';
import type { StepResult, TrainingPool } from './training-pool.js';
import { type Progress, readState, type StateArrays, writeState } from './training-state.js';

/** Texts of a run, in windows of one length. */
export interface FinetuneTexts {
  readonly training: LoadedWindows;
  readonly validation?: LoadedWindows;
}

export type FinetuneEvent =
  | { readonly kind: 'start'; readonly trained: number; readonly lanes: number; readonly resumedAt: number }
  | ({
      readonly kind: 'step';
      readonly step: number;
      readonly steps: number;
      readonly learningRate: number;
      readonly tokensPerSecond: number;
      readonly secondsLeft: number;
    } & StepResult)
  | { readonly kind: 'validation'; readonly step: number; readonly loss: number; readonly best: boolean }
  | { readonly kind: 'stopped'; readonly step: number; readonly bestStep: number };

export interface FinetuneResult {
  readonly steps: number;
  /** The step whose values were written: the best on the validation text, or the last. */
  readonly writtenStep: number;
  readonly validationLoss: number | null;
  /** Values that were trained. */
  readonly trained: number;
  readonly seconds: number;
}

/** The loop over steps, with everything that its checkpoints hold. */
export class TrainingRun {
  readonly #trainee: Trainee;
  readonly #pool: TrainingPool;
  readonly #folder: RunFolder;
  readonly #supports: string;
  readonly #texts: FinetuneTexts;
  readonly #options: FinetuneOptions;
  readonly #onEvent: (event: FinetuneEvent) => void;
  readonly #arrays: StateArrays;
  /** The step of the last checkpoint. */
  #saved = 0;
  #progress: Progress = { step: 0, bestLoss: null, bestStep: 0, looksSince: 0 };

  constructor(
    trainee: Trainee,
    pool: TrainingPool,
    folder: RunFolder,
    texts: FinetuneTexts,
    options: FinetuneOptions,
    onEvent: (event: FinetuneEvent) => void,
  ) {
    this.#trainee = trainee;
    this.#pool = pool;
    this.#folder = folder;
    this.#supports = hashSupports(trainee.parameters);
    this.#texts = texts;
    this.#options = options;
    this.#onEvent = onEvent;
    const best = new Float32Array(texts.validation ? trainee.values.length : 0);
    this.#arrays = { values: trainee.values, first: pool.first, second: pool.second, best };
  }

  /** The values to write: the best on the validation text, or the last. */
  get chosen(): Float32Array {
    return this.#texts.validation ? this.#arrays.best : this.#arrays.values;
  }

  /** Trains to the end, from the last checkpoint on. */
  async train(): Promise<FinetuneResult> {
    const begin = performance.now();
    const { steps, batch, patience, seed } = this.#options;
    const { windows, seqLen } = this.#texts.training;
    this.#progress = readState(this.#statePath, this.#arrays) ?? this.#progress;
    const resumedAt = this.#progress.step;
    this.#saved = resumedAt;
    const trained = this.#trainee.values.length;
    this.#onEvent({ kind: 'start', trained, lanes: this.#pool.lanes, resumedAt });
    await this.#pool.expand();
    if (resumedAt === 0) await this.#look();
    const order = new TrainingOrder(windows.length, batch, seed);
    let stopped = this.#progress.looksSince >= patience;
    while (this.#progress.step < steps && !stopped) {
      const step = this.#progress.step + 1;
      await this.#step(
        step,
        order.batch(step).map((index) => windows[index] as Uint32Array),
        (loss, learningRate) => {
          const seconds = (performance.now() - begin) / 1000;
          const perStep = seconds / (step - resumedAt);
          const tokensPerSecond = (batch * seqLen) / perStep;
          this.#onEvent({
            kind: 'step',
            step,
            steps,
            learningRate,
            tokensPerSecond,
            secondsLeft: perStep * (steps - step),
            ...loss,
          });
        },
      );
      this.#progress = { ...this.#progress, step };
      if (step % this.#options.evaluateEvery === 0 || step === steps) await this.#look();
      stopped = this.#progress.looksSince >= patience;
    }
    if (this.#progress.step > resumedAt) this.#saveLast();
    const { step, bestStep, bestLoss } = this.#progress;
    if (stopped) this.#onEvent({ kind: 'stopped', step, bestStep });
    this.#checkSupports();
    return {
      steps: step,
      writtenStep: this.#texts.validation ? bestStep : step,
      validationLoss: bestLoss,
      trained,
      seconds: (performance.now() - begin) / 1000,
    };
  }

  get #statePath(): string {
    return join(this.#folder.path, 'state.safetensors');
  }

  async #step(
    step: number,
    sequences: readonly Uint32Array[],
    report: (result: StepResult, learningRate: number) => void,
  ): Promise<void> {
    const result = await this.#pool.gradient(sequences);
    const { loss, gradientNorm } = result;
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) throw this.#diverged(step, loss, gradientNorm);
    // Behind the step before; only now it is known that its values give a finite loss.
    const { step: done } = this.#progress;
    if (done > this.#saved && done % this.#options.saveEvery === 0) this.#save();
    const learningRate = learningRateAt(step, this.#options);
    await this.#pool.update(step, learningRate, Math.min(1, this.#options.clip / gradientNorm));
    report(result, learningRate);
  }

  /** Takes the loss on the validation text, if there is one, and keeps the values if it is the best. */
  async #look(): Promise<void> {
    const { validation } = this.#texts;
    if (!validation) return;
    const { step, bestLoss, looksSince } = this.#progress;
    const { loss } = await this.#pool.losses(validation.windows);
    const best = Number.isFinite(loss) && (bestLoss === null || loss < bestLoss);
    if (best) this.#arrays.best.set(this.#arrays.values);
    if (best) this.#progress = { step, bestLoss: loss, bestStep: step, looksSince: 0 };
    else this.#progress = { ...this.#progress, looksSince: looksSince + 1 };
    this.#onEvent({ kind: 'validation', step, loss, best });
  }

  #save(): void {
    this.#checkSupports();
    writeState(this.#statePath, this.#progress, this.#arrays);
    this.#saved = this.#progress.step;
  }

  #saveLast(): void {
    const { step } = this.#progress;
    const index = firstNonFinite(this.#arrays.values);
    if (index >= 0) throw this.#diverged(step, this.#arrays.values[index] as number, Number.NaN);
    this.#save();
  }

  /** Positions never change; what is written must be what was read. */
  #checkSupports(): void {
    if (hashSupports(this.#trainee.parameters) === this.#supports) return;
    throw new DoubleSparseError('verification-failed', 'the supports of the trained matrices changed in memory', {
      hint: 'nothing was written; start the command again to go on from the last checkpoint',
    });
  }

  #diverged(step: number, loss: number, gradientNorm: number): DoubleSparseError {
    const saved = this.#saved;
    return new DoubleSparseError(
      'non-finite-value',
      `step ${step}: the loss is ${loss}, the norm of its gradient ${gradientNorm}`,
      {
        data: { step, saved, learningRate: this.#options.learningRate },
        hint: `a smaller --learning-rate helps (now ${this.#options.learningRate}; with --force the run starts over); ${saved > 0 ? `the checkpoint behind step ${saved} is in ${this.#folder.path}` : 'there is no checkpoint yet'}`,
      },
    );
  }
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
