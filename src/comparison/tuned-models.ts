import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { LoadedWindows } from '../calibration/load-windows.js';
import type { Fingerprint } from '../compression/run-folder.js';
import type { PerplexityResult } from '../evaluation/perplexity.js';
import { finetune } from '../finetuning/finetune.js';
import { recordedOptions } from '../finetuning/finetune-fingerprint.js';
import { type FinetuneOptions, finetuneOptionsSchema } from '../finetuning/finetune-options.js';
import { storedTensors } from '../finetuning/write-finetuned.js';
import type { EngineChoice } from '../linalg/engines/select.js';
import type { LlamaModel } from '../models/llama/model.js';
import {
  type CompareOptions,
  type CompareTexts,
  type ComparisonEvent,
  type ComparisonPlace,
  type TunedRow,
  tunedRowSchema,
} from './comparison.js';
import { KeptResult } from './kept-result.js';

/** Fine-tunes every model of a comparison in the same way, and keeps what came out. */
export class TunedModels {
  readonly #dense: LlamaModel;
  readonly #training: LoadedWindows;
  readonly #place: ComparisonPlace;
  readonly #options: FinetuneOptions;
  readonly #force: boolean;
  readonly #report: (event: ComparisonEvent) => void;

  /** @throws DoubleSparseError `file-unsupported` when the dense model cannot be trained */
  constructor(
    dense: LlamaModel,
    training: LoadedWindows,
    place: ComparisonPlace,
    options: CompareOptions,
    choice: EngineChoice,
    report: (event: ComparisonEvent) => void,
  ) {
    storedTensors(dense.checkpoint);
    this.#dense = dense;
    this.#training = training;
    this.#place = place;
    this.#force = options.force;
    this.#report = report;
    const {
      finetune: steps,
      finetuneBatch: batch,
      finetuneRate: learningRate,
      finetuneTeacher: teacherWeight,
    } = options;
    const { seed, threads, bos, textField } = options;
    const { seqLen } = training;
    const own = { steps, batch, learningRate, teacherWeight, seed, threads, bos, textField, seqLen };
    this.#options = finetuneOptionsSchema.parse({ ...own, engine: choice.name, force: true });
  }

  /**
   * The result for a model, if it is there already.
   * @param fingerprint of the model before fine-tuning and its evaluation.
   */
  kept(name: string, fingerprint: Fingerprint): KeptResult<TunedRow> {
    const own = { ...fingerprint, finetuning: { text: this.#training.hash, ...recordedOptions(this.#options) } };
    return new KeptResult(join(this.#place.folder, `${name}-tuned.json`), own, tunedRowSchema, this.#force);
  }

  /** Fine-tunes a model, unless it is done, and evaluates it. */
  async tune(
    name: string,
    kept: KeptResult<TunedRow>,
    model: LlamaModel,
    evaluate: (folder: string) => Promise<PerplexityResult>,
  ): Promise<void> {
    if (kept.value !== undefined) return;
    const out = join(this.#place.folder, `${name}-tuned`);
    const teacher = this.#options.teacherWeight > 0 ? this.#dense : undefined;
    const { seconds } = await finetune(model, teacher, { training: this.#training }, out, this.#options, (event) =>
      this.#report({ kind: 'tuning', name, event }),
    );
    const { perplexity, standardError } = await evaluate(out);
    const row = kept.keep({ perplexity, standardError, seconds });
    if (!this.#place.keepModels) rmSync(out, { recursive: true });
    this.#report({ kind: 'tuned', name, row });
  }
}

/** For a comparison that asks for it. */
export function tunedModels(
  dense: LlamaModel,
  { finetuning }: CompareTexts,
  place: ComparisonPlace,
  options: CompareOptions,
  choice: EngineChoice,
  report: (event: ComparisonEvent) => void,
): TunedModels | undefined {
  if (options.finetune === 0 || !finetuning) return undefined;
  return new TunedModels(dense, finetuning, place, options, choice, report);
}
