import { z } from 'zod';
import type { LoadedWindows } from '../calibration/load-windows.js';
import { compressOptionsSchema } from '../compression/compress-options.js';
import type { CompressionEvent } from '../compression/compression-event.js';
import { type MethodName, methodNames } from '../factorization/registry.js';
import type { LlamaModel } from '../models/llama/model.js';
import type { Tuned, TuningEvent } from './tuned-models.js';
import { tuningOptionsSchema } from './tuning-options.js';

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
  ...tuningOptionsSchema.shape,
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

export const tunedEvaluationSchema = z.object({ perplexity: z.number(), standardError: z.number() });
export type TunedEvaluation = Readonly<z.output<typeof tunedEvaluationSchema>>;

interface WithTuned {
  /** Where fine-tuning was asked for. */
  readonly tuned?: Tuned<TunedEvaluation>;
}

export interface Comparison {
  readonly dense: DenseRow & WithTuned;
  /** The smaller model, where one was given. */
  readonly against?: DenseRow;
  readonly rows: readonly (ComparisonRow & WithTuned)[];
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
  | TuningEvent<TunedEvaluation>
  | { kind: 'run'; method: MethodName; sparsity: number; event: CompressionEvent };
