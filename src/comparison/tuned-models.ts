import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Fingerprint } from '../compression/run-folder.js';
import type { FinetuneEvent, FinetuneResult } from '../finetuning/finetune-events.js';
import { KeptResult } from './kept-result.js';

const trainingSchema = z.object({
  /** Of training. */
  seconds: z.number(),
  /** Was training interrupted? Then the seconds are those since it went on. */
  resumed: z.boolean(),
});
export type Training = Readonly<z.output<typeof trainingSchema>>;

/** A model that is trained, and what its evaluation told as soon as it is there. */
export type Tuning<Evaluation> = Training & { readonly evaluated?: Evaluation | undefined };

/** A model of the comparison after fine-tuning. */
export type Tuned<Evaluation> = Evaluation & Training;

export type TuningEvent<Evaluation> =
  | { kind: 'tuning'; name: string; event: FinetuneEvent }
  | { kind: 'tuned'; name: string; row: Tuned<Evaluation> };

/** How models of one kind are fine-tuned. */
export interface Trainer<Model> {
  /** Everything that a trained model depends on, beside the model before. */
  readonly fingerprint: Fingerprint;
  /** Where tuned models go, by the name without an extension. */
  readonly pathOf: (place: string) => string;
  readonly isWritten: (path: string) => boolean;
  readonly train: (model: Model, path: string, onEvent: (event: FinetuneEvent) => void) => Promise<FinetuneResult>;
}

/** Where tuned models go, and whether what is there may be used. */
export interface TunedPlace {
  readonly folder: string;
  /** Do the models stay there? */
  readonly keepModels: boolean;
  /** Take a result of other settings for none, instead of refusing it. */
  readonly force: boolean;
}

/** Fine-tunes every model of a comparison in the same way, and keeps what came out. */
export class TunedModels<Model, Evaluation extends object> {
  readonly #trainer: Trainer<Model>;
  readonly #schema: z.ZodType<Tuning<Evaluation>>;
  readonly #place: TunedPlace;
  readonly #report: (event: TuningEvent<Evaluation>) => void;

  constructor(
    trainer: Trainer<Model>,
    evaluation: z.ZodType<Evaluation>,
    place: TunedPlace,
    report: (event: TuningEvent<Evaluation>) => void,
  ) {
    this.#trainer = trainer;
    this.#schema = trainingSchema.extend({ evaluated: evaluation.optional() });
    this.#place = place;
    this.#report = report;
  }

  /**
   * What is there already of the result for a model.
   * @param fingerprint of the model before fine-tuning and its evaluation.
   */
  kept(name: string, fingerprint: Fingerprint): KeptResult<Tuning<Evaluation>> {
    const own = { ...fingerprint, finetuning: this.#trainer.fingerprint };
    return new KeptResult(`${this.#at(name)}.json`, own, this.#schema, this.#place.force);
  }

  /** Is there nothing left to do? A model that should have stayed must still be there. */
  isDone(name: string, { value }: KeptResult<Tuning<Evaluation>>): boolean {
    return value?.evaluated !== undefined && (!this.#place.keepModels || this.#isWritten(name));
  }

  /** Fine-tunes a model, unless it is done, and evaluates it. */
  async tune(
    name: string,
    kept: KeptResult<Tuning<Evaluation>>,
    model: Model,
    evaluate: (path: string) => Promise<Evaluation>,
  ): Promise<void> {
    if (this.isDone(name, kept)) return;
    const out = this.#out(name);
    const training = this.#isWritten(name) && kept.value ? kept.value : await this.#train(name, kept, model);
    const tuning = kept.keep({ ...training, evaluated: await evaluate(out) });
    // One that was killed as it was removed.
    rmSync(`${out}.run`, { recursive: true, force: true });
    if (!this.#place.keepModels) rmSync(out, { recursive: true });
    this.#report({ kind: 'tuned', name, row: tunedRow(tuning) as Tuned<Evaluation> });
  }

  /** Noted before the run's folder goes: training that is done is not done again. */
  async #train(name: string, kept: KeptResult<Tuning<Evaluation>>, model: Model): Promise<Training> {
    kept.discard();
    const { seconds, resumedAt } = await this.#trainer.train(model, this.#out(name), (event) => {
      if (event.kind === 'written') kept.keep({ seconds: event.result.seconds, resumed: event.result.resumedAt > 0 });
      this.#report({ kind: 'tuning', name, event });
    });
    return { seconds, resumed: resumedAt > 0 };
  }

  #at(name: string): string {
    return join(this.#place.folder, `${name}-tuned`);
  }

  #out(name: string): string {
    return this.#trainer.pathOf(this.#at(name));
  }

  #isWritten(name: string): boolean {
    return this.#trainer.isWritten(this.#out(name));
  }
}

/** The row, if it is complete. */
export function tunedRow<Evaluation extends object>(
  tuning: Tuning<Evaluation> | undefined,
): Tuned<Evaluation> | undefined {
  if (!tuning?.evaluated) return undefined;
  const { evaluated, seconds, resumed } = tuning;
  return { ...evaluated, seconds, resumed };
}
