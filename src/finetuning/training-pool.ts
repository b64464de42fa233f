import { Piscina } from 'piscina';
import { postedError, receivedError } from '../errors.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import type { Trainee } from './collect-parameters.js';
import type { FinetuneOptions } from './finetune-options.js';
import type { LossSums } from './operations/language-loss.js';
import { groupParameters, type TrainingAnswer, type TrainingJob, type TrainingShare } from './training-job.js';
import type { TeacherModel } from './training-model.js';
import type { PostedAnswer, TrainingWorkerData } from './training-worker.js';

/** Mean losses of a token. */
export interface MeanLoss extends LossSums {
  /** What is minimised: (1 - w) cross-entropy + w divergence. */
  readonly loss: number;
}

export interface StepResult extends MeanLoss {
  /** Norm of the gradient before it is clipped. */
  readonly gradientNorm: number;
}

const shared = (length: number): Float32Array => new Float32Array(new SharedArrayBuffer(4 * length));

/**
 * Worker threads that train one model in shared memory. Sequence i of a batch belongs to lane i modulo lanes, whichever
 * thread runs it, each lane has gradients of its own, and these are added in the order of the lanes: results depend on
 * the number of lanes, never on timing.
 */
export class TrainingPool {
  readonly lanes: number;
  readonly blasThreads: number;
  readonly first: Float32Array;
  readonly second: Float32Array;
  readonly #pool: Piscina<TrainingJob, PostedAnswer>;
  readonly #teacherWeight: number;

  /** @param threads cores to use. Lanes times BLAS threads of each never exceed it. */
  constructor(
    trainee: Trainee,
    teacher: TeacherModel | undefined,
    choice: EngineChoice,
    threads: number,
    options: Pick<FinetuneOptions, 'batch' | 'microBatch' | 'weightDecay' | 'teacherWeight'>,
  ) {
    const { batch, microBatch, weightDecay } = options;
    this.lanes = Math.max(1, Math.min(threads, batch));
    this.blasThreads = Math.max(1, Math.floor(threads / this.lanes));
    this.#teacherWeight = teacher ? options.teacherWeight : 0;
    const { length } = trainee.values;
    this.first = shared(length);
    this.second = shared(length);
    const share: TrainingShare = {
      model: trainee.model,
      ...(teacher && { teacher }),
      teacherWeight: this.#teacherWeight,
      microBatch,
      weightDecay,
      values: trainee.values,
      first: this.first,
      second: this.second,
      gradients: Array.from({ length: this.lanes }, () => shared(length)),
      groups: groupParameters(trainee.parameters, this.lanes),
    };
    const data: TrainingWorkerData = { choice, blasThreads: this.blasThreads, share };
    this.#pool = new Piscina({
      // Threads run JavaScript: started from the TypeScript sources (tests), they are taken from the build.
      filename: new URL('./training-worker.js', import.meta.url.replace('/src/finetuning/', '/dist/finetuning/')).href,
      minThreads: this.lanes,
      maxThreads: this.lanes,
      workerData: data,
    });
  }

  /** Puts the values into the dense weights that the forward pass reads; needed after they were changed from outside. */
  async expand(): Promise<void> {
    await this.#run((lane) => ({ kind: 'expand', lane }));
  }

  /** Gradients of a batch, summed over lanes. The values are as before. */
  async gradient(sequences: readonly Uint32Array[]): Promise<StepResult> {
    const scale = 1 / tokensOf(sequences);
    const sums = await this.#run((lane) => ({ kind: 'gradient', lane, sequences: this.#own(sequences, lane), scale }));
    const norms = await this.#run((lane) => ({ kind: 'sum', lane }));
    const squares = norms.reduce((sum, answer) => sum + answer.squares, 0);
    return { ...this.#mean(sums, sequences), gradientNorm: Math.sqrt(squares) };
  }

  /** One step along the gradients, which are zero afterwards. @param step from 1 on. */
  async update(step: number, learningRate: number, gradientScale: number): Promise<void> {
    await this.#run((lane) => ({ kind: 'update', lane, step, learningRate, gradientScale }));
  }

  /** Mean losses of sequences of equal length. */
  async losses(sequences: readonly Uint32Array[]): Promise<MeanLoss> {
    const sums = await this.#run((lane) => ({ kind: 'loss', lane, sequences: this.#own(sequences, lane) }));
    return this.#mean(sums, sequences);
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  #own(sequences: readonly Uint32Array[], lane: number): Uint32Array[] {
    return sequences.filter((_, index) => index % this.lanes === lane);
  }

  #mean(answers: readonly TrainingAnswer[], sequences: readonly Uint32Array[]): MeanLoss {
    const mean = (of: (answer: TrainingAnswer) => number): number =>
      answers.reduce((sum, answer) => sum + of(answer), 0) / tokensOf(sequences);
    const crossEntropy = mean((answer) => answer.crossEntropy);
    const divergence = mean((answer) => answer.divergence);
    const share = this.#teacherWeight;
    return { crossEntropy, divergence, loss: (1 - share) * crossEntropy + share * divergence };
  }

  async #run(job: (lane: number) => TrainingJob): Promise<TrainingAnswer[]> {
    // All of them end before an error is thrown: the caller may reuse the memory then.
    const answers = await Promise.allSettled(
      Array.from({ length: this.lanes }, (_, lane) => this.#pool.run(job(lane))),
    );
    return answers.map((answer) => {
      if (answer.status === 'rejected') throw receivedError(postedError(answer.reason));
      if ('error' in answer.value) throw receivedError(answer.value.error);
      return answer.value;
    });
  }
}

/** Tokens that are predicted. */
function tokensOf(sequences: readonly Uint32Array[]): number {
  return sequences.reduce((sum, { length }) => sum + length - 1, 0);
}
