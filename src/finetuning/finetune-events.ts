import type { Sums } from '../training/training-lane.js';
import type { SparseMatrices } from './collect-parameters.js';

export interface StepResult {
  readonly loss: number;
  /** Mean losses by name, and what else is counted. */
  readonly means: Sums;
  /** Norm of the gradient before it is clipped. */
  readonly gradientNorm: number;
}

export type FinetuneEvent =
  /** Zeros of matrices that are stored dense, see {@link SparseMatrices}. */
  | ({ readonly kind: 'zeros'; readonly kept: boolean } & SparseMatrices)
  /** A checkpoint that is damaged; `force` was set, and the run starts over. */
  | { readonly kind: 'discarded'; readonly problem: string }
  | {
      readonly kind: 'start';
      readonly trained: number;
      readonly lanes: number;
      readonly resumedAt: number;
      /** Asks the run to end behind the step at hand, with a checkpoint: it then throws `interrupted`. */
      readonly stop: () => void;
    }
  | ({
      readonly kind: 'step';
      readonly step: number;
      readonly steps: number;
      readonly learningRate: number;
      /** Predictions: tokens, or images. */
      readonly predictionsPerSecond: number;
      readonly secondsLeft: number;
    } & StepResult)
  | {
      readonly kind: 'validation';
      readonly step: number;
      readonly loss: number;
      readonly means: Sums;
      readonly best: boolean;
    }
  | { readonly kind: 'checkpoint'; readonly step: number }
  | { readonly kind: 'stopped'; readonly step: number; readonly bestStep: number }
  /** All steps are made and saved; what follows is writing. */
  | { readonly kind: 'trained'; readonly step: number }
  /** The model is there; what is left is to remove the run's folder. */
  | { readonly kind: 'written'; readonly result: FinetuneResult };

export interface FinetuneResult {
  readonly steps: number;
  /** The step whose values were written: the best on the validation text, or the last. */
  readonly writtenStep: number;
  readonly validationLoss: number | null;
  /** Values that were trained. */
  readonly trained: number;
  /** The step behind which this process went on; 0 if it made all of them. */
  readonly resumedAt: number;
  /** Of this process. */
  readonly seconds: number;
}
