import { ImageModel } from '../../calibration/image-model.js';
import type { Tensor } from '../../calibration/tensor.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import type { CalibrationImages } from './calibration-images.js';

/** Outputs kept in memory (256 MiB): where they take more, the dense model is run again for every comparison. */
const keptBytes = 2 ** 28;

export interface OutputLossOptions {
  readonly layout: 'nchw' | 'nhwc';
  readonly threads: number;
  /** Images from the first on. */
  readonly limit: number;
  /** Names of the outputs that are compared. */
  readonly outputs: readonly string[];
}

/** What changed models make of calibration images, next to what the dense one does. */
export class OutputLoss {
  readonly #images: CalibrationImages;
  readonly #options: OutputLossOptions;
  readonly #dense: ImageModel;
  #kept: Record<string, Tensor>[] = [];
  #keptBytes = 0;

  private constructor(dense: ImageModel, images: CalibrationImages, options: OutputLossOptions) {
    this.#dense = dense;
    this.#images = images;
    this.#options = options;
  }

  static async open(dense: OnnxModel, images: CalibrationImages, options: OutputLossOptions): Promise<OutputLoss> {
    return new OutputLoss(await ImageModel.open(dense, options), images, options);
  }

  /** Squared differences of outputs as a part of the squared outputs, summed over the outputs. */
  async of(model: OnnxModel): Promise<number> {
    const { outputs, limit } = this.#options;
    const sums = outputs.map((name) => ({ name, squares: 0, differences: 0 }));
    const changed = await ImageModel.open(model, this.#options);
    try {
      let index = 0;
      for await (const batch of this.#images.batches(limit)) {
        const [expected, actual] = [await this.#expected(batch, index++), await changed.run(batch, outputs)];
        for (const sum of sums) {
          const [x, y] = [expected[sum.name]!.data, actual[sum.name]!.data];
          for (let i = 0; i < x.length; i++) {
            sum.squares += x[i]! ** 2;
            sum.differences += (x[i]! - y[i]!) ** 2;
          }
        }
      }
    } finally {
      await changed.close();
    }
    return sums.reduce((loss, { squares, differences }) => loss + (squares > 0 ? differences / squares : 0), 0);
  }

  close(): Promise<void> {
    return this.#dense.close();
  }

  async #expected(batch: Tensor, index: number): Promise<Record<string, Tensor>> {
    const known = this.#kept[index];
    if (known) return known;
    const made = await this.#dense.run(batch, this.#options.outputs);
    this.#keptBytes += Object.values(made).reduce((sum, { data }) => sum + data.byteLength, 0);
    if (index === this.#kept.length && this.#keptBytes <= keptBytes) this.#kept.push(made);
    return made;
  }
}
