import { z } from 'zod';
import type { LoadedWindows } from '../calibration/load-windows.js';
import { compressOptionsSchema } from '../compression/compress-options.js';
import type { CompressionEvent } from '../compression/compression-event.js';
import { type MethodName, methodNames } from '../factorization/registry.js';
import type { FinetuneEvent } from '../finetuning/finetune-events.js';
import { finetuneOptionsSchema } from '../finetuning/finetune-options.js';
import type { LlamaModel } from '../models/llama/model.js';

const finetuning = finetuneOptionsSchema.shape;
const { method: _method, sparsity: _sparsity, ...shared } = compressOptionsSchema.shape;

/** Options of a comparison: those of a compression run, but several methods and sparsities. */
export const compareOptionsSchema = z.object({
  methods: z
    .array(z.enum(methodNames))
    .min(1)
    .default(['double-sparse', 'admm', 'sparsegpt', 'wanda', 'magnitude'])
    .describe(`methods, separated by commas: ${methodNames.join(', ')}`),
  sparsities: z.array(z.number().min(0).lt(1)).min(1).default([0.5]).describe('sparsities, separated by commas'),
  ...shared,
  windows: z.int().min(1).optional().describe('evaluation windows from the start of the text (default: all)'),
  finetune: z
    .int()
    .min(0)
    .max(10_000_000)
    .default(0)
    .describe('steps of fine-tuning on the calibration text, for every model alike, the dense one too; 0 for none'),
  finetuneBatch: finetuning.batch.describe('windows of a step of fine-tuning'),
  finetuneRate: finetuning.learningRate.describe('learning rate of fine-tuning, at its highest'),
  finetuneTeacher: finetuning.teacherWeight
    .default(0)
    .describe('share of the divergence from the dense model in the loss of fine-tuning'),
});
export type CompareOptions = z.output<typeof compareOptionsSchema>;

export const comparisonRowSchema = z.object({
  method: z.enum(methodNames),
  sparsity: z.number(),
  perplexity: z.number(),
  standardError: z.number(),
  /** Of all linear layers, those kept dense included; likewise the nonzeros. */
  linearBytes: z.number(),
  nonzeros: z.number(),
  /** Of a run by itself: what rows share counts in each. */
  seconds: z.number(),
  factorizationSeconds: z.number(),
  /** Was the run interrupted? Then the seconds are those since it went on. */
  resumed: z.boolean(),
});
/** A compressed model of the comparison. */
export type ComparisonRow = Readonly<z.output<typeof comparisonRowSchema>>;

export const denseRowSchema = z.object({
  perplexity: z.number(),
  standardError: z.number(),
  /** Weights of linear layers, at two bytes each. */
  linearBytes: z.number(),
  linearWeights: z.number(),
});
/** A dense model of the comparison. */
export type DenseRow = Readonly<z.output<typeof denseRowSchema>>;

export const tunedRowSchema = z.object({
  perplexity: z.number(),
  standardError: z.number(),
  /** Of training. */
  seconds: z.number(),
  /** Was training interrupted? Then the seconds are those since it went on. */
  resumed: z.boolean(),
});
/** A model of the comparison after fine-tuning. */
export type TunedRow = Readonly<z.output<typeof tunedRowSchema>>;

/** A model that is trained, and from its evaluation on the whole row. */
export const tuningSchema = tunedRowSchema.partial({ perplexity: true, standardError: true });
export type Tuning = Readonly<z.output<typeof tuningSchema>>;

/** The row, if it is complete. */
export function completeRow(tuning: Tuning | undefined): TunedRow | undefined {
  return tunedRowSchema.safeParse(tuning).data;
}

interface Tuned {
  /** Where fine-tuning was asked for. */
  readonly tuned?: TunedRow;
}

export interface Comparison {
  readonly dense: DenseRow & Tuned;
  /** The smaller model, where one was given. */
  readonly against?: DenseRow;
  readonly rows: readonly (ComparisonRow & Tuned)[];
}

export interface CompareTexts {
  readonly calibration: LoadedWindows;
  readonly evaluation: LoadedWindows;
  /** All windows of the calibration text, for fine-tuning. */
  readonly finetuning?: LoadedWindows;
  /** A smaller dense model and the evaluation text in its tokens. */
  readonly against?: { readonly model: LlamaModel; readonly evaluation: LoadedWindows };
}

/** Where a comparison puts what it makes. */
export interface ComparisonPlace {
  /**
   * Gets the compressed models, as METHOD-SPARSITY, fine-tuned ones as METHOD-SPARSITY-tuned, and every finished row
   * in a JSON file beside its model.
   */
  readonly folder: string;
  /** Do the models stay there? */
  readonly keepModels: boolean;
}

export type ComparisonEvent =
  | { kind: 'kept'; rows: number; total: number }
  | { kind: 'dense'; row: DenseRow }
  | { kind: 'row'; row: ComparisonRow }
  | { kind: 'tuning'; name: string; event: FinetuneEvent }
  | { kind: 'tuned'; name: string; row: TunedRow }
  | { kind: 'run'; method: MethodName; sparsity: number; event: CompressionEvent };
