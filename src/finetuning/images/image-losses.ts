import { type ClassificationSums, classificationLoss } from '../../training/operations/classification-loss.js';
import type { OperationContext } from '../../training/operations/context.js';
import { Tape } from '../../training/tape.js';
import type { TrainingShare } from '../../training/training-lane.js';
import { runGraph, type TrainedGraph } from './trained-graph.js';

/** What all threads of a training run share. */
export interface ImageShare extends TrainingShare {
  readonly graph: TrainedGraph;
  /** The model whose logits are imitated. */
  readonly teacher?: TrainedGraph;
  readonly teacherWeight: number;
}

export interface ImageExample {
  /** Prepared pixels, line by line, channels of a pixel together; in shared memory. */
  readonly pixels: Float32Array;
  /** -1 where it is not known. */
  readonly label: number;
}

/** @param scale 1 / images of the whole batch. */
export function imageLosses(
  context: OperationContext,
  { graph, teacher, teacherWeight }: ImageShare,
  examples: readonly ImageExample[],
  scale: number | undefined,
): ClassificationSums {
  const { compute } = context;
  const { height, width, channels } = graph.input;
  return compute.scope(() => {
    const images = compute.matrix(examples.length * height * width, channels);
    for (const [i, { pixels }] of examples.entries()) images.data.set(pixels, i * pixels.length);
    const labels = Int32Array.from(examples, ({ label }) => label);
    const imitated =
      teacher && teacherWeight > 0
        ? { logits: runGraph(context, new Tape(compute), teacher, { value: images }).value, weight: teacherWeight }
        : undefined;
    const tape = new Tape(compute);
    const logits = runGraph(context, tape, graph, { value: images, constant: true });
    const training = scale !== undefined;
    const options = { labels, scale: scale ?? 0, ...(imitated && { teacher: imitated }) };
    const sums = classificationLoss(context, training ? tape : undefined, logits, options);
    if (training) tape.backward();
    return sums;
  });
}
