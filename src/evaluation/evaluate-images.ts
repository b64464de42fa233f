import { ImageModel } from '../calibration/image-model.js';
import { imageBatches, type SkippedImage, selectImages } from '../calibration/images/image-batches.js';
import type { ImageSource } from '../calibration/images/image-source.js';
import type { Preprocessing } from '../calibration/images/options.js';
import type { Tensor } from '../calibration/tensor.js';
import { DoubleSparseError } from '../errors.js';
import type { OnnxModel } from '../formats/onnx/model.js';
import { comparableOutputs } from '../models/cnn/comparable-outputs.js';
import { type Accuracy, accuracy } from './accuracy.js';
import { OutputParity, type Parity } from './parity.js';

export interface ImageEvaluationOptions {
  preprocessing: Preprocessing;
  /** Numbers of classes, one an image of the source: measures the accuracy. */
  labels?: ArrayLike<number> | undefined;
  /** The model that this one was made from: measures the output parity. */
  against?: OnnxModel | undefined;
  /** Of the images in the source (default: all). */
  indices?: readonly number[] | undefined;
  /** Default: what the model fixes, else 32. */
  batchSize?: number | undefined;
  /** Threads of onnxruntime (default 1). */
  threads?: number | undefined;
  /** Called after each batch with the images so far. */
  onProgress?: ((images: number) => void) | undefined;
}

export interface ImageEvaluation {
  /** Images that were evaluated. */
  readonly images: number;
  /** Those that could not be decoded. */
  readonly skipped: readonly SkippedImage[];
  /** Where labels were given: of the first output. */
  readonly accuracy: Accuracy | undefined;
  /** Where another model was given: of every output of that which {@link comparableOutputs} tells, by name. */
  readonly parity: Readonly<Record<string, Parity>> | undefined;
  /** Wall seconds, decoding of the images included, and those inside the model. */
  readonly seconds: number;
  readonly modelSeconds: number;
}

/**
 * Accuracy of an ONNX model on labelled images, or how far its outputs are from those of another one, or both in one
 * pass. Images that cannot be decoded are skipped.
 * @throws DoubleSparseError `option-out-of-range` with neither labels nor another model, `unknown-name` for an output
 *   that only the other one has; those of {@link ImageModel}, {@link imageBatches}, {@link accuracy},
 *   {@link OutputParity}
 */
export async function evaluateImages(
  model: OnnxModel,
  source: ImageSource,
  options: ImageEvaluationOptions,
): Promise<ImageEvaluation> {
  const { preprocessing, labels, against, threads, onProgress } = options;
  if (!labels && !against) {
    throw new DoubleSparseError('option-out-of-range', 'an evaluation with neither labels nor another model', {
      data: { path: model.path },
      hint: 'give --labels (or images in folders by class), or the model it was made from with --against',
    });
  }
  const { layout } = preprocessing;
  const start = performance.now();
  const own = await ImageModel.open(model, { layout, batchSize: options.batchSize, threads });
  let other: ImageModel | undefined;
  try {
    const { batchSize, size } = own;
    other = against && (await ImageModel.open(against, { layout, batchSize, threads }));
    const comparison =
      against && other && new SessionComparison(other, comparableOutputs(against, other.session.outputs).compared);
    const skipped: SkippedImage[] = [];
    const batches = imageBatches(source, options.indices ?? selectImages(source, undefined, 0), {
      preprocessing,
      batchSize,
      size,
      onSkip: (image) => skipped.push(image),
    });
    let [images, modelMilliseconds] = [0, 0];
    const run = async (batch: Tensor): Promise<Tensor> => {
      const before = performance.now();
      const outputs = await own.run(batch);
      modelMilliseconds += performance.now() - before;
      await comparison?.add(batch, outputs);
      images += batch.dims[0] as number;
      return outputs[own.session.outputs[0]?.name as string] as Tensor;
    };
    let measured: Accuracy | undefined;
    if (labels) measured = await accuracy(batches, labels, run, onProgress);
    else {
      for await (const batch of batches) {
        await run(batch.images);
        onProgress?.(images);
      }
    }
    return {
      images,
      skipped,
      accuracy: measured,
      parity: comparison?.finish(),
      seconds: (performance.now() - start) / 1000,
      modelSeconds: modelMilliseconds / 1000,
    };
  } finally {
    await own.close();
    await other?.close();
  }
}

/** Output parity with a model, output by output. */
class SessionComparison {
  readonly #model: ImageModel;
  readonly #parities: ReadonlyMap<string, OutputParity>;

  constructor(model: ImageModel, outputs: readonly string[]) {
    this.#model = model;
    this.#parities = new Map(outputs.map((name) => [name, new OutputParity()]));
  }

  async add(images: Tensor, actual: Readonly<Record<string, Tensor>>): Promise<void> {
    const expected = await this.#model.run(images);
    for (const [name, parity] of this.#parities) {
      const output = actual[name];
      if (!output) {
        throw new DoubleSparseError('unknown-name', `only ${this.#model.session.path} has an output "${name}"`, {
          data: { path: this.#model.session.path, name, names: Object.keys(actual) },
          hint: 'compare a compressed model with the one that it was made from',
        });
      }
      parity.add(expected[name] as Tensor, output);
    }
  }

  finish(): Record<string, Parity> {
    return Object.fromEntries([...this.#parities].map(([name, parity]) => [name, parity.finish()]));
  }
}
