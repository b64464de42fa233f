import { type ImageSize, imageBatches } from '../../calibration/images/image-batches.js';
import type { ImageSource } from '../../calibration/images/image-source.js';
import type { Augmentation, Preprocessing } from '../../calibration/images/options.js';
import type { FinetuneOptions } from '../finetune-options.js';
import type { ImageExample } from './image-losses.js';

/** Images with their classes. */
export interface LabelledImages {
  readonly source: ImageSource;
  /** One an image; absent: a teacher's outputs are all that there is to learn. */
  readonly labels?: ArrayLike<number> | undefined;
}

export interface FinetuneImages {
  readonly training: LabelledImages;
  readonly validation?: LabelledImages | undefined;
  readonly preprocessing: Preprocessing;
  readonly augmentation: Omit<Augmentation, 'passes'>;
}

/** Options of a run over images: those of text have no meaning. */
export type ImageFinetuneOptions = Omit<FinetuneOptions, 'seqLen' | 'textField' | 'bos' | 'keepZeros'>;

/**
 * Reads images as examples, in the order of `indices`; those that cannot be decoded are left out.
 * @param seed of the augmentation.
 * @throws DoubleSparseError of {@link imageBatches}
 */
export async function readExamples(
  { source, labels }: LabelledImages,
  indices: readonly number[],
  preprocessing: Preprocessing,
  size: ImageSize,
  augmentation?: Omit<Augmentation, 'passes'>,
  seed = 0,
): Promise<ImageExample[]> {
  const examples: ImageExample[] = [];
  const batches = imageBatches(source, indices, {
    preprocessing: { ...preprocessing, layout: 'nhwc' },
    batchSize: indices.length,
    size,
    seed,
    ...(augmentation && { augmentation: { ...augmentation, passes: 1 } }),
  });
  for await (const { images, indices: read } of batches) {
    const data = new Float32Array(new SharedArrayBuffer(4 * images.data.length));
    data.set(images.data);
    const length = data.length / read.length;
    for (const [i, index] of read.entries())
      examples.push({ pixels: data.subarray(i * length, (i + 1) * length), label: labels?.[index] ?? -1 });
  }
  return examples;
}
