import { availableParallelism } from 'node:os';
import { selectImages } from '../../calibration/images/image-batches.js';
import { refuseOutput } from '../../compression/cnn/refuse-output.js';
import { engineOfRun } from '../../compression/run-fingerprint.js';
import { RunFolder } from '../../compression/run-folder.js';
import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { writeVerified } from '../../formats/onnx/write-verified.js';
import { chooseEngine, type EngineChoice } from '../../linalg/engines/select.js';
import { unpackConstants } from '../../models/cnn/unpack-constants.js';
import type { ClassificationSums } from '../../training/operations/classification-loss.js';
import { laneCount } from '../../training/training-pool.js';
import type { FinetuneEvent, FinetuneResult } from '../finetune-events.js';
import { mixedLoss, openTrainingPool } from '../open-training-pool.js';
import { trainInFolder } from '../train-in-folder.js';
import type { TrainingTask } from '../training-run.js';
import { GraphWeights } from './graph-weights.js';
import { ExampleReader, type FinetuneImages, type LabelledImages } from './image-data.js';
import type { ImageFinetuneOptions } from './image-finetune-options.js';
import { imageFingerprint } from './image-fingerprint.js';
import type { ImageExample, ImageShare } from './image-losses.js';
import { imageSize } from './image-size.js';
import { readGraph } from './read-graph.js';
import type { TrainedGraph } from './trained-graph.js';
import { withValues } from './write-graph.js';

/**
 * Trains the values of an ONNX model, dense or compressed, zeros of its weights as they are, and writes the model to
 * `out`. Batch normalisations keep their statistics. State is kept in `out`.run: the same call goes on where one was
 * interrupted and ends with the same bytes.
 * @param teacher model of the same images and classes whose outputs are imitated.
 * @throws DoubleSparseError `file-exists`, `option-out-of-range` without labels and teacher, and with nothing to train;
 *   `non-finite-value` naming the step, `run-mismatch`, `run-in-use`; those of {@link readGraph}, reading images and writing
 */
export async function finetuneOnnx(
  model: OnnxModel,
  teacher: OnnxModel | undefined,
  images: FinetuneImages,
  out: string,
  options: ImageFinetuneOptions,
  onEvent: (event: FinetuneEvent) => void = () => {},
): Promise<FinetuneResult> {
  const { training, validation } = images;
  if (!training.labels && !teacher) {
    throw new DoubleSparseError('option-out-of-range', 'there is nothing to learn: neither labels nor a teacher', {
      hint: 'give --labels, or the dense model with --teacher',
    });
  }
  const size = await imageSize(model, images);
  const plain = unpackConstants(model);
  const weights = new GraphWeights(plain.model, plain.packed, options.train);
  const graph = readGraph(plain.model, size, weights);
  const imitated = teacher && teacherGraph(teacher, graph);
  for (const each of [training, validation]) if (each) checkLabels(graph, each);
  const values = weights.finish();
  if (values.length === 0) {
    throw new DoubleSparseError('option-out-of-range', `${model.path} has no ${options.train.join(', ')} to train`, {
      data: { path: model.path, train: options.train },
      hint: 'name more with --train',
    });
  }
  const reader = new ExampleReader(images, size);
  const threads = options.threads ?? availableParallelism();
  // A run goes on with the engine it began with: which one is faster at this moment may have changed.
  const choice = chooseEngine(options.engine === 'auto' ? (engineOfRun(`${out}.run`) ?? 'auto') : options.engine);
  const lanes = laneCount({ threads, examples: options.batch });
  const fingerprint = imageFingerprint(model, teacher, images, options, choice, lanes);
  const folder = new RunFolder(`${out}.run`, fingerprint, { restart: options.force });
  return trainInFolder(
    folder,
    {
      refuse: () => refuseOutput(model, out, options.force || folder.ownsOutput),
      openTask: async () => {
        const chosen = validation && selectImages(validation.source, options.validationWindows, options.seed);
        const examples = validation && chosen && { validation: await reader.validation(validation, chosen) };
        const task = await imageTask({ graph, imitated, weights, values, training, reader }, choice, threads, options);
        return { ...task, ...examples };
      },
      write: (trained) => {
        const hint = 'The run folder still holds the last checkpoint: write to another disk';
        writeVerified(withValues(model, trained, weights.stored), out, hint);
      },
    },
    options,
    onEvent,
  );
}

interface Prepared {
  readonly graph: TrainedGraph;
  readonly imitated: TrainedGraph | undefined;
  readonly weights: GraphWeights;
  readonly values: Float32Array;
  readonly training: LabelledImages;
  readonly reader: ExampleReader;
}

async function imageTask(
  { graph, imitated, weights, values, training, reader }: Prepared,
  choice: EngineChoice,
  threads: number,
  { batch, microBatch, weightDecay, teacherWeight, seed }: ImageFinetuneOptions,
): Promise<TrainingTask<ImageExample, ClassificationSums>> {
  const { parameters } = weights;
  const share = imitated ? (training.labels ? teacherWeight : 1) : 0;
  const { pool, trained } = await openTrainingPool<ImageShare, ImageExample, ClassificationSums>(
    { program: 'finetuning/images/image-worker.js', choice, threads, examples: batch },
    { values, parameters, weightDecay },
    (own) => ({ graph, trained: own, microBatch, teacherWeight: share, ...(imitated && { teacher: imitated }) }),
  );
  return {
    pool,
    trained,
    parameters,
    examples: training.source.names.length,
    read: (indices, epoch) => reader.training(indices, seed + epoch),
    predictions: () => 1,
    lossOf: mixedLoss(share),
  };
}

function teacherGraph(teacher: OnnxModel, graph: TrainedGraph): TrainedGraph {
  const { model, packed } = unpackConstants(teacher);
  const result = readGraph(model, graph.input, new GraphWeights(model, packed, []));
  if (result.classes === graph.classes) return result;
  throw new DoubleSparseError(
    'shape-mismatch',
    `the teacher knows ${result.classes} classes, the model ${graph.classes}`,
    {
      hint: 'the teacher is the dense model that the other was made from',
    },
  );
}

function checkLabels({ classes }: TrainedGraph, { labels, source }: LabelledImages): void {
  if (!labels) return;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] as number;
    if (label >= 0 && label < classes) continue;
    throw new DoubleSparseError(
      'option-out-of-range',
      `${source.path}: ${source.names[i]} has class ${label}, the model knows ${classes}`,
      {
        data: { path: source.path, image: source.names[i], label, classes },
        hint: 'do labels and model belong together?',
      },
    );
  }
}
