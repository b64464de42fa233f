import type { ImageModel } from '../../calibration/image-model.js';
import { imageBatches, type SkippedImage, selectImages } from '../../calibration/images/image-batches.js';
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

/** The calibration images as batches for a model, any number of times and always the same. */
export class CalibrationImages {
  /** Could not be decoded. */
  readonly skipped: SkippedImage[] = [];
  readonly #source: ImageSource;
  readonly #indices: readonly number[];
  readonly #model: Pick<ImageModel, 'batchSize' | 'size'>;
  readonly #options: CalibrationImagesOptions;
  #kept: Tensor[] | undefined;
  #passed = false;

  constructor(source: ImageSource, model: Pick<ImageModel, 'batchSize' | 'size'>, options: CalibrationImagesOptions) {
    this.#source = source;
    this.#indices = selectImages(source, options.samples, options.seed);
    this.#model = { batchSize: model.batchSize, size: model.size };
    this.#options = options;
  }

  /** Images of one pass over the source, those that cannot be decoded among them. */
  get count(): number {
    return this.#indices.length;
  }

  /** @param limit stop behind so many images (default: all, of all passes). */
  async *batches(limit = Number.POSITIVE_INFINITY): AsyncGenerator<Tensor> {
    let images = 0;
    for await (const batch of this.#all()) {
      yield batch;
      images += batch.dims[0] as number;
      if (images >= limit) return;
    }
  }

  async *#all(): AsyncGenerator<Tensor> {
    if (this.#kept) {
      yield* this.#kept;
      return;
    }
    const { preprocessing, augmentation, seed } = this.#options;
    const first = !this.#passed;
    let kept: Tensor[] | undefined = first ? [] : undefined;
    let bytes = 0;
    const batches = imageBatches(this.#source, this.#indices, {
      ...this.#model,
      preprocessing,
      augmentation,
      seed,
      onSkip: (image) => {
        if (!this.skipped.some(({ name }) => name === image.name)) this.skipped.push(image);
      },
    });
    for await (const { images } of batches) {
      bytes += images.data.byteLength;
      if (bytes > keptBytes) kept = undefined;
      kept?.push(images);
      yield images;
    }
    this.#passed = true;
    this.#kept = kept;
  }
}
