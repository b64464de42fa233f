import { meanCrossGram, meanGram } from '../../calibration/gram.js';
import { type DoubleSparseError, postedError, receivedError } from '../../errors.js';
import type { EngineChoice } from '../../linalg/engines/select.js';
import type { Matrix } from '../../linalg/matrix.js';
import { sharedZeros } from '../../linalg/shared-matrix.js';
import { workerFile } from '../../worker-file.js';
import { WorkerPool } from '../../worker-pool.js';
import type { LlamaConfig } from './config.js';
import type { BlockJob, ForwardJob, GroupMatrices, LossJob, Sequence } from './forward-job.js';
import type { ForwardAnswer, ForwardWorkerData, JobTimes } from './forward-worker.js';
import type { HiddenStates } from './hidden-states.js';
import { type RotaryTable, rotaryTable } from './rope.js';
import { groupInputSize, type LinearGroup, linearGroups } from './tensors.js';
import type { BlockWeights, HeadWeights } from './weights.js';

export interface ForwardPoolOptions {
  config: LlamaConfig;
  choice: EngineChoice;
  /** Cores to use. Worker threads times BLAS threads of each never exceed it. */
  threads: number;
  /** Most sequences that will run at one time; fewer workers then get more BLAS threads each. */
  sequences: number;
  /** Positions of the longest sequence. */
  seqLen: number;
}

export interface GatherOptions {
  /** Groups whose Gram matrices are wanted (default all); the block is computed no further than they need. */
  groups?: readonly LinearGroup[];
  /** Put the block's outputs in place of the hidden states (default false). */
  advance?: boolean;
  /**
   * Hidden states of the same sequences in the dense model. Asks for the cross Gram matrices; these states always
   * advance through the block.
   */
  dense?: readonly Matrix[];
}

/** Gram matrices of the inputs of linear groups, in x in, means over all positions. */
export interface Gathered {
  /** H = (1/N) sum x x^T */
  readonly grams: GroupMatrices;
  /** C = (1/N) sum x_dense x^T, if `dense` was given. */
  readonly crossGrams: GroupMatrices;
  /** N */
  readonly positions: number;
}

/**
 * Worker threads that take sequences through the blocks of a model, one sequence each at a time. Sequence i belongs to
 * lane i modulo workers, whichever thread runs it, and sums are formed lane by lane: results depend on the number of
 * workers, never on their timing.
 */
export class ForwardPool {
  readonly workers: number;
  readonly blasThreads: number;
  readonly #config: LlamaConfig;
  readonly #rotary: RotaryTable;
  readonly #pool: WorkerPool<ForwardJob, ForwardAnswer>;
  readonly #sums = new Map<string, Matrix>();
  readonly #times = { seconds: 0, productSeconds: 0, flops: 0 };

  constructor({ config, choice, threads, sequences, seqLen }: ForwardPoolOptions) {
    this.workers = Math.max(1, Math.min(threads, sequences));
    this.blasThreads = Math.max(1, Math.floor(threads / this.workers));
    this.#config = config;
    this.#rotary = rotaryTable(config.rope, config.headSize, seqLen);
    const data: ForwardWorkerData = { choice, blasThreads: this.blasThreads, config };
    this.#pool = new WorkerPool(workerFile('models/llama/forward-worker.js'), this.workers, data);
  }

  /** Seconds of all jobs so far, added over threads, and what of them went into matrix products. */
  get times(): JobTimes {
    return { ...this.#times };
  }

  /**
   * Takes hidden states through block `layer`, in place.
   * @param hidden one positions x hiddenSize matrix in shared memory for each sequence, or as many at a time as there
   * is memory for; the results are the same.
   * @throws DoubleSparseError `non-finite-value` naming the block, `worker-failed`
   */
  async advance(layer: number, weights: BlockWeights, hidden: readonly Matrix[] | HiddenStates): Promise<void> {
    await this.#runBlock(layer, weights, hidden, undefined, true, () => ({ grams: {}, crossGrams: {} }));
  }

  /**
   * Gram matrices of the inputs of a block's linear layers. The memory of the result is used again by the next call.
   * @param hidden as for {@link advance}; unchanged unless `advance`.
   * @throws DoubleSparseError `non-finite-value` naming the block, `worker-failed`
   */
  async gather(
    layer: number,
    weights: BlockWeights,
    hidden: readonly Matrix[] | HiddenStates,
    { groups = linearGroups, advance = false, dense }: GatherOptions = {},
  ): Promise<Gathered> {
    const lane = (number: number) => ({
      grams: this.#laneSums('gram', groups, number),
      crossGrams: dense ? this.#laneSums('cross', groups, number) : {},
    });
    const { sequences, positions } = await this.#runBlock(layer, weights, hidden, dense, advance, lane);
    const sums = Array.from({ length: Math.min(this.workers, sequences) }, (_, number) => lane(number));
    const combine = (kind: 'grams' | 'crossGrams', mean: typeof meanGram): GroupMatrices =>
      Object.fromEntries(
        groups.flatMap((group) => {
          const [first, ...others] = sums.map((each) => each[kind][group]).filter((sum) => sum !== undefined);
          return first ? [[group, mean([first, ...others], positions)]] : [];
        }),
      );
    return { grams: combine('grams', meanGram), crossGrams: combine('crossGrams', meanCrossGram), positions };
  }

  /**
   * Losses of the next tokens of each sequence, see {@link Head.losses}.
   * @param hidden outputs of the last block, unchanged.
   * @param ids the tokens of each sequence.
   * @throws DoubleSparseError `non-finite-value` naming the sequence, `worker-failed`
   */
  async losses(weights: HeadWeights, hidden: readonly Matrix[], ids: readonly Uint32Array[]): Promise<Float64Array[]> {
    const sequences = hidden.map((states, index) => ({
      index,
      hidden: states,
      ids: ids[index] as Uint32Array,
      losses: new Float64Array(new SharedArrayBuffer(8 * Math.max(0, states.rows - 1))),
    }));
    await this.#runLanes(sequences, (own): LossJob => ({ kind: 'loss', weights, sequences: own }));
    return sequences.map(({ losses }) => losses);
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #runBlock(
    layer: number,
    weights: BlockWeights,
    states: readonly Matrix[] | HiddenStates,
    dense: readonly Matrix[] | undefined,
    advance: boolean,
    lane: (number: number) => Pick<BlockJob, 'grams' | 'crossGrams'>,
  ): Promise<{ sequences: number; positions: number }> {
    const batches = 'batches' in states ? states.batches(this.workers, advance) : [{ first: 0, hidden: states }];
    const shared = { kind: 'block', layer, weights, rotary: this.#rotary, advance } as const;
    const done = { sequences: 0, positions: 0 };
    for (const { first, hidden } of batches) {
      const sequences = hidden.map((each, i): Sequence => {
        const reference = dense?.[first + i];
        return { index: first + i, hidden: each, ...(reference && { dense: reference }) };
      });
      const continued = first > 0;
      await this.#runLanes(
        sequences,
        (own, number): BlockJob => ({ ...shared, sequences: own, continued, ...lane(number) }),
      );
      done.sequences += hidden.length;
      done.positions += hidden.reduce((sum, { rows }) => sum + rows, 0);
    }
    return done;
  }

  async #runLanes<S>(sequences: readonly S[], job: (own: S[], lane: number) => ForwardJob): Promise<void> {
    const lanes = Array.from({ length: Math.min(this.workers, sequences.length) }, (_, lane) =>
      job(
        sequences.filter((_, index) => index % this.workers === lane),
        lane,
      ),
    );
    // All of them end before an error is thrown: the caller may reuse the memory then.
    const answers = await Promise.allSettled(lanes.map((each) => this.#pool.run(each)));
    const errors = answers.flatMap((answer) => this.#take(answer));
    if (errors.length > 0) throw firstBySequence(errors);
  }

  /** Books the times of a finished job, or returns its error. */
  #take(answer: PromiseSettledResult<ForwardAnswer>): DoubleSparseError[] {
    if (answer.status === 'rejected') {
      return [receivedError(postedError(answer.reason))];
    }
    if ('error' in answer.value) {
      return [receivedError(answer.value.error)];
    }
    const { times } = answer.value;
    this.#times.seconds += times.seconds;
    this.#times.productSeconds += times.productSeconds;
    this.#times.flops += times.flops;
    return [];
  }

  /** The sums of a lane, kept for the next block. */
  #laneSums(kind: 'gram' | 'cross', groups: readonly LinearGroup[], lane: number): GroupMatrices {
    return Object.fromEntries(
      groups.map((group) => {
        const key = `${kind} ${group} ${lane}`;
        const size = groupInputSize(this.#config, group);
        const sum = this.#sums.get(key) ?? sharedZeros(size, size);
        this.#sums.set(key, sum);
        return [group, sum];
      }),
    );
  }
}

/** The same error at every run, whichever lane was faster. */
function firstBySequence(errors: readonly DoubleSparseError[]): DoubleSparseError {
  const place = ({ data }: DoubleSparseError): number => Number(data.sequence ?? 0);
  return [...errors].sort((a, b) => place(a) - place(b))[0] as DoubleSparseError;
}
