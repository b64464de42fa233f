import { type ImageBatchOptions, imageBatches, type SkippedImage } from '../../calibration/images/image-batches.js';
import type { ImageSource } from '../../calibration/images/image-source.js';
import type { Augmentation, Preprocessing } from '../../calibration/images/options.js';
import type { ImageExample } from './image-losses.js';
import type { TrainedGraph } from './trained-graph.js';

/** Images that lie in memory twice, before and after they are put into shared memory. */
const preparedAtOnce = 64;

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
  /** Called once for each image that cannot be decoded, which is left out. */
  readonly onSkip?: (image: SkippedImage) => void;
}

/** Reads images as examples, in the order of their indices; those that cannot be decoded are left out. */
export class ExampleReader {
  readonly #images: FinetuneImages;
  readonly #size: TrainedGraph['input'];
  readonly #skipped = new Set<string>();

  constructor(images: FinetuneImages, size: TrainedGraph['input']) {
    this.#images = images;
    this.#size = size;
  }

  /**
   * Images to train on, changed at random; none where none of them can be decoded.
   * @throws DoubleSparseError of {@link imageBatches}
   */
  async training(indices: readonly number[], seed: number): Promise<ImageExample[]> {
    const { training, augmentation } = this.#images;
    let skipped = 0;
    const options = { seed, augmentation: { ...augmentation, passes: 1 }, onSkip: () => skipped++ };
    try {
      return await this.#read(training, indices, options);
    } catch (error) {
      if (skipped === indices.length) return [];
      throw error;
    }
  }

  /** @throws DoubleSparseError of {@link imageBatches} */
  validation(labelled: LabelledImages, indices: readonly number[]): Promise<ImageExample[]> {
    return this.#read(labelled, indices, {});
  }

  async #read(
    { source, labels }: LabelledImages,
    indices: readonly number[],
    options: Partial<ImageBatchOptions>,
  ): Promise<ImageExample[]> {
    const examples: ImageExample[] = [];
    const batches = imageBatches(source, indices, {
      ...options,
      preprocessing: { ...this.#images.preprocessing, layout: 'nhwc' },
      batchSize: preparedAtOnce,
      size: this.#size,
      onSkip: (image) => {
        options.onSkip?.(image);
        this.#report(source, image);
      },
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

  #report({ path }: ImageSource, image: SkippedImage): void {
    const key = JSON.stringify([path, image.name]);
    if (this.#skipped.has(key)) return;
    this.#skipped.add(key);
    this.#images.onSkip?.(image);
  }
}
