import { add } from '../../training/operations/add.js';
import { addBias } from '../../training/operations/add-bias.js';
import { type BatchNormalizationLayer, batchNormalization } from '../../training/operations/batch-normalization.js';
import type { OperationContext, Weight } from '../../training/operations/context.js';
import { type ConvolutionShape, convolution } from '../../training/operations/convolution.js';
import { flatten } from '../../training/operations/flatten.js';
import { type LinearLayer, linear } from '../../training/operations/linear.js';
import { averagePooling, maximumPooling } from '../../training/operations/pooling.js';
import { relu } from '../../training/operations/relu.js';
import type { Tape, Variable } from '../../training/tape.js';
import type { Windows } from '../../training/windows.js';

/** An operation of a graph. Values are numbered; those of images have a row a position and a column a channel. */
export type GraphStep = { readonly input: number; readonly output: number } & (
  | { readonly kind: 'convolution'; readonly layer: LinearLayer; readonly shape: ConvolutionShape }
  | { readonly kind: 'linear'; readonly layer: LinearLayer }
  | { readonly kind: 'batchNormalization'; readonly layer: BatchNormalizationLayer }
  | { readonly kind: 'relu' }
  | { readonly kind: 'add'; readonly other: number }
  | { readonly kind: 'bias'; readonly bias: Weight }
  | { readonly kind: 'maximumPooling'; readonly windows: Windows }
  | { readonly kind: 'averagePooling'; readonly windows: Windows; readonly countsPadding: boolean }
  | { readonly kind: 'flatten'; readonly positions: number }
);

/** A model of images as operations on a tape; value 0 is the input. Plain data in shared memory. */
export interface TrainedGraph {
  readonly steps: readonly GraphStep[];
  /** Number of the logits. */
  readonly logits: number;
  readonly input: { readonly height: number; readonly width: number; readonly channels: number };
  readonly classes: number;
}

/** @param images (images * positions) x channels. @returns the logits, images x classes */
export function runGraph(context: OperationContext, tape: Tape, graph: TrainedGraph, images: Variable): Variable {
  const values: Variable[] = [images];
  const at = (number: number): Variable => values[number] as Variable;
  for (const step of graph.steps) values[step.output] = runStep(context, tape, step, at(step.input), at);
  return at(graph.logits);
}

function runStep(
  context: OperationContext,
  tape: Tape,
  step: GraphStep,
  x: Variable,
  at: (number: number) => Variable,
): Variable {
  switch (step.kind) {
    case 'convolution':
      return convolution(context, tape, step.layer, step.shape, x);
    case 'linear':
      return linear(context, tape, step.layer, x);
    case 'batchNormalization':
      return batchNormalization(context, tape, step.layer, x);
    case 'relu':
      return relu(context, tape, x);
    case 'add':
      return add(context, tape, x, at(step.other));
    case 'bias':
      return addBias(context, tape, step.bias, x);
    case 'maximumPooling':
      return maximumPooling(tape, step.windows, x);
    case 'averagePooling':
      return averagePooling(tape, step.windows, step.countsPadding, x);
    case 'flatten':
      return flatten(tape, step.positions, x);
  }
}
