import { z } from 'zod';
import type { SkippedImage } from '../calibration/images/image-batches.js';
import type { ImageSource } from '../calibration/images/image-source.js';
import type { CnnCalibration } from '../compression/cnn/cnn-resources.js';
import type { CnnEvent } from '../compression/cnn/cnn-run.js';
import { type CnnMethodName, cnnMethodNames, cnnSharedOptionsSchema } from '../compression/cnn/options.js';
import type { ImageEvaluation } from '../evaluation/evaluate-images.js';
import type { Tuned, TuningEvent } from './tuned-models.js';
import { tuningOptionsSchema } from './tuning-options.js';

export const cnnCompareOptionsSchema = cnnSharedOptionsSchema.extend({
  ...tuningOptionsSchema.shape,
  methods: z.array(z.enum(cnnMethodNames)).min(1).default(['auto', 'obc', 'admm', 'magnitude', 'low-rank']),
  sparsities: z.array(z.number().min(0).lt(1)).min(1).default([0.5]),
});
export type CnnCompareOptions = z.output<typeof cnnCompareOptionsSchema>;

export interface CnnEvaluationImages {
  readonly source: ImageSource;
  /** Without them the outputs are compared with those of the dense model. */
  readonly labels: ArrayLike<number> | undefined;
  readonly batchSize: number | undefined;
}

/** Calibration images, which are those of fine-tuning too. */
export interface CnnTrainingImages extends CnnCalibration {
  /** Their classes, for fine-tuning; without them the outputs of the dense model are imitated. */
  readonly labels?: ArrayLike<number> | undefined;
}

export interface CnnComparisonNumbers {
  readonly evaluation: ImageEvaluation;
  /** Of the model file. */
  readonly bytes: number;
  /** Of all layers that are compressed. */
  readonly nonzeros: number;
  /** For one image, kept layers included. */
  readonly multiplyAdds: number;
}

const imageEvaluation = z.custom<ImageEvaluation>((value) => typeof value === 'object' && value !== null);

export const cnnRowSchema = z.object({
  method: z.enum(cnnMethodNames),
  sparsity: z.number(),
  evaluation: imageEvaluation,
  bytes: z.number(),
  nonzeros: z.number(),
  multiplyAdds: z.number(),
  /** Of a run by itself: what rows share counts in each. */
  seconds: z.number(),
  /** How many layers each method of `auto` got. */
  layers: z.record(z.string(), z.number()),
});
export type CnnComparisonRow = CnnComparisonNumbers & Readonly<z.output<typeof cnnRowSchema>>;

export const cnnTunedEvaluationSchema = z.object({ evaluation: imageEvaluation });
export type CnnTunedEvaluation = Readonly<z.output<typeof cnnTunedEvaluationSchema>>;

interface WithTuned {
  /** Where fine-tuning was asked for. */
  readonly tuned?: Tuned<CnnTunedEvaluation>;
}

/** A row that came to nothing. */
export interface CnnFailedRow {
  readonly method: CnnMethodName;
  readonly sparsity: number;
  readonly reason: string;
}

export interface CnnComparison {
  readonly dense: CnnComparisonNumbers & WithTuned;
  readonly rows: readonly (CnnComparisonRow & WithTuned)[];
  readonly failed: readonly CnnFailedRow[];
  /** Images that were calibrated on, and those that could not be read. Those of the evaluation are in each of its results. */
  readonly calibration: { readonly images: number; readonly skipped: readonly SkippedImage[] };
  /** Of the process, all rows together. */
  readonly peakMemoryBytes: number;
}

export type CnnComparisonEvent =
  | { kind: 'dense'; row: CnnComparisonNumbers }
  | { kind: 'row'; row: CnnComparisonRow }
  | { kind: 'failed'; row: CnnFailedRow }
  | TuningEvent<CnnTunedEvaluation>
  /** An image that cannot be trained on. */
  | { kind: 'skipped'; image: SkippedImage }
  | { kind: 'evaluated'; name: string; images: number }
  | { kind: 'run'; method: CnnMethodName; sparsity: number; event: CnnEvent };
