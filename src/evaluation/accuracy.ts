import type { Tensor } from '../calibration/tensor.js';
import { DoubleSparseError } from '../errors.js';

/** How often a model is right. */
export interface Accuracy {
  readonly images: number;
  /** Images whose class has the largest output. */
  readonly correct: number;
  /** The part of them, 0 to 1. */
  readonly top1: number;
  /** Standard error of top1 over images, sqrt(p (1 - p) / images). */
  readonly standardError: number;
  /** The part whose class is among the five largest outputs; undefined with five classes or fewer. */
  readonly top5: number | undefined;
  readonly top5StandardError: number | undefined;
}

/** A batch of images, and where each is in the list of labels. */
export interface LabelledBatch {
  readonly images: Tensor;
  readonly indices: readonly number[];
}

/**
 * Accuracy of a classifier. Of equal outputs the first counts as the largest, as in NumPy's argmax.
 * @param labels numbers of classes by index.
 * @param run the model: images to outputs, N x classes (dimensions of 1 behind are allowed).
 * @param onProgress called after each batch with the images so far.
 * @throws DoubleSparseError `option-out-of-range` (no images; a label beyond the classes), `shape-mismatch`,
 *   `non-finite-value` (NaN outputs)
 */
export async function accuracy(
  batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
  labels: ArrayLike<number>,
  run: (images: Tensor) => Promise<Tensor> | Tensor,
  onProgress?: (images: number) => void,
): Promise<Accuracy> {
  let [images, top1, top5, classes] = [0, 0, 0, 0];
  for await (const batch of batches) {
    const outputs = await run(batch.images);
    classes = checkOutputs(outputs, batch.indices.length);
    for (const [i, index] of batch.indices.entries()) {
      const rank = rankOf(outputs.data.subarray(i * classes, (i + 1) * classes), labels[index], index);
      if (rank === 0) top1++;
      if (rank < 5) top5++;
    }
    images += batch.indices.length;
    onProgress?.(images);
  }
  if (images === 0)
    throw new DoubleSparseError('option-out-of-range', 'the accuracy on no images', { data: { images } });
  const standardError = (part: number): number => Math.sqrt((part * (1 - part)) / images);
  const more = classes > 5;
  return {
    images,
    correct: top1,
    top1: top1 / images,
    standardError: standardError(top1 / images),
    top5: more ? top5 / images : undefined,
    top5StandardError: more ? standardError(top5 / images) : undefined,
  };
}

/** Number of classes. */
function checkOutputs({ dims, data }: Tensor, images: number): number {
  const [count, classes, ...others] = dims;
  if (
    count === images &&
    classes !== undefined &&
    others.every((size) => size === 1) &&
    data.length === images * classes
  )
    return classes;
  throw new DoubleSparseError('shape-mismatch', `outputs [${dims}] for ${images} images are not images x classes`, {
    data: { dims, images },
    hint: 'accuracy can be measured of classifiers only; --labels none compares outputs alone',
  });
}

/** How many classes come before the label's. */
function rankOf(outputs: Float32Array, label: number | undefined, index: number): number {
  if (label === undefined || !(label < outputs.length)) {
    throw new DoubleSparseError(
      'option-out-of-range',
      `image ${index} is of class ${label}, the model knows ${outputs.length} classes`,
      { data: { index, label: label ?? 'none', classes: outputs.length }, hint: 'do the labels belong to this model?' },
    );
  }
  const own = outputs[label] as number;
  let before = 0;
  for (let c = 0; c < outputs.length; c++) {
    const value = outputs[c] as number;
    if (Number.isNaN(value)) {
      throw new DoubleSparseError('non-finite-value', `output ${c} of image ${index} is NaN`, {
        data: { index, class: c },
      });
    }
    if (value > own || (value === own && c < label)) before++;
  }
  return before;
}
