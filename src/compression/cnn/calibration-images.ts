import type { ImageModel } from '../../calibration/image-model.js';
import {
  batchOf,
  inBatches,
  type PreparedImage,
  preparedImages,
  type SkippedImage,
  selectImages,
} from '../../calibration/images/image-batches.js';
import type { ImageSource } from '../../calibration/images/image-source.js';
import type { Augmentation, Preprocessing } from '../../calibration/images/options.js';
import type { Tensor } from '../../calibration/tensor.js';

/** Prepared images kept in memory (512 MiB): what takes more is decoded anew for every pass through the model. */
const keptBytes = 2 ** 29;

export interface CalibrationImagesOptions {
  readonly preprocessing: Preprocessing;
  readonly augmentation: Augmentation;
  /** Images drawn from the source. */
  readonly samples: number;
  readonly seed: number;
}

/**
 * The calibration images as batches for a model, any number of times and always the same. They are kept as pixels, a
 * byte each where files are of 8 bits, and normalised for each pass.
 */
export class CalibrationImages {
  /** Images of a batch. */
  batchSize: number;
  /** Could not be decoded. */
  readonly skipped: SkippedImage[] = [];
  readonly #source: ImageSource;
  readonly #indices: readonly number[];
  readonly #size: ImageModel['size'];
  readonly #options: CalibrationImagesOptions;
  #kept: readonly PreparedImage[] | undefined;
  #passed = false;

  constructor(source: ImageSource, model: Pick<ImageModel, 'batchSize' | 'size'>, options: CalibrationImagesOptions) {
    this.#source = source;
    this.#indices = selectImages(source, options.samples, options.seed);
    this.batchSize = model.batchSize;
    this.#size = model.size;
    this.#options = options;
  }

  /** Images of one pass over the source, those that cannot be decoded among them. */
  get count(): number {
    return this.#indices.length;
  }

  /** @param limit so many images from the first on (default: all, of all passes). */
  async *batches(limit = Number.POSITIVE_INFINITY): AsyncGenerator<Tensor> {
    let left = limit;
    for await (const batch of inBatches(this.#all(), this.batchSize)) {
      yield batchOf(batch.slice(0, left), this.#options.preprocessing, this.#source.tensor).images;
      left -= batch.length;
      if (left <= 0) return;
    }
  }

  async *#all(): AsyncGenerator<PreparedImage> {
    if (this.#kept) {
      yield* this.#kept;
      return;
    }
    const { preprocessing, augmentation, seed } = this.#options;
    let kept: PreparedImage[] | undefined = this.#passed ? undefined : [];
    let bytes = 0;
    const images = preparedImages(this.#source, this.#indices, {
      size: this.#size,
      preprocessing,
      augmentation,
      seed,
      onSkip: (image) => {
        if (!this.skipped.some(({ name }) => name === image.name)) this.skipped.push(image);
      },
    });
    for await (const prepared of images) {
      bytes += prepared.image.data.byteLength;
      if (bytes > keptBytes) kept = undefined;
      kept?.push(prepared);
      yield prepared;
    }
    this.#passed = true;
    this.#kept = kept;
  }
}
