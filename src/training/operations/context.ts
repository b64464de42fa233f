import type { Compute } from '../../linalg/compute.js';
import type { Matrix } from '../../linalg/matrix.js';
import type { LlamaKernels } from '../../models/llama/kernels.js';
import type { TrainingKernels } from '../kernels.js';
import type { Parameter } from '../parameter.js';

/** What operations compute with, and where gradients of parameters go. */
export interface OperationContext {
  readonly compute: Compute;
  readonly forward: LlamaKernels;
  readonly backward: TrainingKernels;
  /** Takes dL/d(dense form) of a parameter; the matrix is scratch. */
  readonly addGradient: (parameter: Parameter, gradient: Matrix) => void;
}

/** A tensor of the model, trained if it has a parameter. */
export interface Weight {
  readonly value: Matrix;
  readonly parameter?: Parameter;
}
