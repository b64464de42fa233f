import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { LoadedWindows } from '../calibration/load-windows.js';
import { type Fingerprint, RunFolder } from '../compression/run-folder.js';
import { DoubleSparseError } from '../errors.js';
import { claimModelFolder } from '../formats/model-folder.js';
import { chooseEngine, createChosenEngine, type EngineChoice } from '../linalg/engines/select.js';
import { checkIds } from '../models/llama/embedding.js';
import type { LlamaModel } from '../models/llama/model.js';
import { rotaryTable } from '../models/llama/rope.js';
import { collectParameters, type Trainee } from './collect-parameters.js';
import type { FinetuneOptions } from './finetune-options.js';
import { learningRateAt } from './learning-rate.js';
import type { Parameter } from './parameter.js';
import type { TeacherModel } from './training-model.js';
import { TrainingOrder } from './training-order.js';
import { type StepResult, TrainingPool } from './training-pool.js';
import { type Progress, readState, type StateArrays, writeState } from './training-state.js';
import { storedTensors, writeFinetuned } from './write-finetuned.js';

/** Version of everything that decides a run's bytes; another one does not go on with its checkpoints. */
const runVersion = 1;

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

/**
 * Trains the values of a model, dense or compressed, supports as they are, and writes the model to `out`. State is kept
 * in `out`.run: the same call goes on where one was interrupted and ends with the same bytes.
 * @param teacher model of the same vocabulary whose next-token distribution is imitated.
 * @throws DoubleSparseError `non-finite-value` naming the step, `run-mismatch`, `run-in-use`, `option-out-of-range`,
 *   and those of reading and writing models
 */
export async function finetune(
  model: LlamaModel,
  teacher: LlamaModel | undefined,
  texts: FinetuneTexts,
  out: string,
  options: FinetuneOptions,
  onEvent: (event: FinetuneEvent) => void = () => {},
): Promise<FinetuneResult> {
  const { checkpoint, config } = model;
  const { training, validation } = texts;
  storedTensors(checkpoint);
  for (const ids of [...training.windows, ...(validation?.windows ?? [])]) checkIds(ids, config.vocabularySize);
  if (teacher && teacher.config.vocabularySize !== config.vocabularySize) {
    throw new DoubleSparseError(
      'shape-mismatch',
      `the teacher has a vocabulary of ${teacher.config.vocabularySize}, the model one of ${config.vocabularySize}`,
      { hint: 'the teacher is the dense model that the other was made from' },
    );
  }
  const threads = options.threads ?? availableParallelism();
  const choice = chooseEngine(options.engine);
  const { seqLen } = training;
  const trainee = collectParameters(model, seqLen, options);
  const supports = hashSupports(trainee.parameters);
  const teaching = teacher && readTeacher(teacher, seqLen);
  const folder = new RunFolder(
    `${out}.run`,
    fingerprintOf(model, trainee, teacher, texts, options, choice, Math.min(threads, options.batch)),
    { restart: options.force },
  );
  const pool = new TrainingPool(trainee, teaching, choice, threads, options);
  try {
    const replace = options.force || folder.ownsOutput;
    claimModelFolder(out, checkpoint, replace);
    const run = new Run(trainee, pool, folder, supports, texts, options, onEvent);
    const result = await run.train();
    folder.claimOutput();
    writeFinetuned(checkpoint, out, run.chosen, trainee.stored, {
      settings: {
        ...recordedOptions(options),
        text: training.textHash,
        step: result.writtenStep,
        teacher: teacher !== undefined,
      },
      replace,
    });
    folder.remove();
    return result;
  } catch (error) {
    folder.logFailure(error);
    throw error;
  } finally {
    folder.close();
    await pool.close();
  }
}

/** The loop over steps, with everything that its checkpoints hold. */
class Run {
  readonly #trainee: Trainee;
  readonly #pool: TrainingPool;
  readonly #folder: RunFolder;
  readonly #supports: string;
  readonly #texts: FinetuneTexts;
  readonly #options: FinetuneOptions;
  readonly #onEvent: (event: FinetuneEvent) => void;
  readonly #arrays: StateArrays;
  #progress: Progress = { step: 0, bestLoss: null, bestStep: 0, looksSince: 0 };

  constructor(
    trainee: Trainee,
    pool: TrainingPool,
    folder: RunFolder,
    supports: string,
    texts: FinetuneTexts,
    options: FinetuneOptions,
    onEvent: (event: FinetuneEvent) => void,
  ) {
    this.#trainee = trainee;
    this.#pool = pool;
    this.#folder = folder;
    this.#supports = supports;
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

  async train(): Promise<FinetuneResult> {
    const begin = performance.now();
    const { steps, batch, patience, saveEvery, seed } = this.#options;
    const { windows, seqLen } = this.#texts.training;
    this.#progress = readState(this.#statePath, this.#arrays) ?? this.#progress;
    const resumedAt = this.#progress.step;
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
      if (step % saveEvery === 0 || step === steps || stopped) this.#save();
    }
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
  }

  /** Positions never change; what is written must be what was read. */
  #checkSupports(): void {
    if (hashSupports(this.#trainee.parameters) === this.#supports) return;
    throw new DoubleSparseError('verification-failed', 'the supports of the trained matrices changed in memory', {
      hint: 'nothing was written; start the command again to go on from the last checkpoint',
    });
  }

  #diverged(step: number, loss: number, gradientNorm: number): DoubleSparseError {
    const saved = Math.floor((step - 1) / this.#options.saveEvery) * this.#options.saveEvery;
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

function readTeacher(teacher: LlamaModel, seqLen: number): TeacherModel {
  const { config } = teacher;
  const embedding = teacher.readEmbedding();
  return {
    config,
    rotary: rotaryTable(config.rope, config.headSize, seqLen),
    embedding,
    blocks: Array.from({ length: config.layers }, (_, layer) => teacher.readBlock(layer)),
    head: teacher.readHead(embedding),
  };
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

/** Options that the result depends on. */
function recordedOptions(options: FinetuneOptions): Record<string, unknown> {
  const { threads: _, engine: __, force: ___, saveEvery: ____, ...rest } = options;
  return rest;
}

function fingerprintOf(
  { checkpoint }: LlamaModel,
  { values }: Trainee,
  teacher: LlamaModel | undefined,
  { training, validation }: FinetuneTexts,
  options: FinetuneOptions,
  choice: EngineChoice,
  lanes: number,
): Fingerprint {
  const hash = (...parts: (string | Uint8Array)[]): string =>
    parts.reduce((state, part) => state.update(part), createHash('sha256')).digest('hex');
  const headers = ({ config, tensors }: LlamaModel['checkpoint']): string =>
    JSON.stringify([config, [...tensors.values()]]);
  return {
    version: runVersion,
    model: hash(headers(checkpoint), new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
    teacher: teacher ? hash(headers(teacher.checkpoint)) : null,
    text: training.hash,
    validation: validation?.hash ?? null,
    ...recordedOptions(options),
    engine: createChosenEngine(choice).description,
    lanes,
  };
}
