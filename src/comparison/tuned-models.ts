import { existsSync, rmSync } from 'node:fs';
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
  completeRow,
  type Tuning,
  tuningSchema,
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
   * What is there already of the result for a model.
   * @param fingerprint of the model before fine-tuning and its evaluation.
   */
  kept(name: string, fingerprint: Fingerprint): KeptResult<Tuning> {
    const own = { ...fingerprint, finetuning: { text: this.#training.hash, ...recordedOptions(this.#options) } };
    return new KeptResult(join(this.#place.folder, `${name}-tuned.json`), own, tuningSchema, this.#force);
  }

  /** Is there nothing left to do? A model that should have stayed must still be there. */
  isDone(name: string, { value }: KeptResult<Tuning>): boolean {
    return completeRow(value) !== undefined && (!this.#place.keepModels || this.#isWritten(name));
  }

  /** Fine-tunes a model, unless it is done, and evaluates it. */
  async tune(
    name: string,
    kept: KeptResult<Tuning>,
    model: LlamaModel,
    evaluate: (folder: string) => Promise<PerplexityResult>,
  ): Promise<void> {
    if (this.isDone(name, kept)) return;
    const out = this.#out(name);
    const { seconds, resumed } =
      this.#isWritten(name) && kept.value ? kept.value : await this.#train(name, kept, model);
    const { perplexity, standardError } = await evaluate(out);
    const row = { perplexity, standardError, seconds, resumed };
    kept.keep(row);
    // One that was killed as it was removed.
    rmSync(`${out}.run`, { recursive: true, force: true });
    if (!this.#place.keepModels) rmSync(out, { recursive: true });
    this.#report({ kind: 'tuned', name, row });
  }

  /** Noted before the run's folder goes: training that is done is not done again. */
  async #train(name: string, kept: KeptResult<Tuning>, model: LlamaModel): Promise<Tuning> {
    kept.discard();
    const teacher = this.#options.teacherWeight > 0 ? this.#dense : undefined;
    const texts = { training: this.#training };
    const { seconds, resumedAt } = await finetune(model, teacher, texts, this.#out(name), this.#options, (event) => {
      if (event.kind === 'written') kept.keep({ seconds: event.result.seconds, resumed: event.result.resumedAt > 0 });
      this.#report({ kind: 'tuning', name, event });
    });
    return { seconds, resumed: resumedAt > 0 };
  }

  #out(name: string): string {
    return join(this.#place.folder, `${name}-tuned`);
  }

  #isWritten(name: string): boolean {
    return existsSync(join(this.#out(name), 'config.json'));
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
