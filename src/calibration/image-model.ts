import { DoubleSparseError } from '../errors.js';
import type { OnnxModel } from '../formats/onnx/model.js';
import { serializeOnnx } from '../formats/onnx/writer.js';
import { elementCount } from '../linalg/element-count.js';
import type { ImageSize } from './images/image-batches.js';
import type { Preprocessing } from './images/options.js';
import { OnnxSession, type SessionTensor } from './onnx-session.js';
import type { Tensor } from './tensor.js';

/** Images of a batch where neither model nor caller say how many. */
const defaultBatchSize = 32;

export interface ImageModelOptions {
  layout: Preprocessing['layout'];
  /** Default: what the model fixes, else 32. */
  batchSize?: number | undefined;
  /** See {@link OnnxSession.open}. */
  threads?: number | undefined;
}

/** An ONNX model with one input, images (four dimensions) or other tensors, opened with onnxruntime. Close it. */
export class ImageModel {
  readonly session: OnnxSession;
  /** What the model takes; sizes that it leaves open are undefined. */
  readonly size: ImageSize;
  /** Images of a batch: as many as the model fixes, else as asked for. */
  readonly batchSize: number;
  /** Is this the only batch size that the model takes? */
  readonly fixed: boolean;
  readonly #input: string;

  private constructor(session: OnnxSession, { layout, batchSize }: ImageModelOptions) {
    this.session = session;
    const input = onlyInput(session);
    this.#input = input.name;
    const [images, ...rest] = input.dims.map((dim) => (typeof dim === 'number' && dim > 0 ? dim : undefined));
    const [channels, height, width] = layout === 'nchw' ? rest : [rest[2], rest[0], rest[1]];
    this.size = input.dims.length === 4 ? { channels, height, width } : {};
    if (images !== undefined && batchSize !== undefined && images !== batchSize) {
      throw new DoubleSparseError(
        'option-out-of-range',
        `batches of ${batchSize} images: ${session.path} takes ${images} at a time`,
        { data: { option: 'batchSize', value: batchSize, limit: images }, hint: `use --batch-size ${images}` },
      );
    }
    this.fixed = images !== undefined;
    this.batchSize = images ?? batchSize ?? defaultBatchSize;
  }

  /**
   * @throws DoubleSparseError `file-unsupported` for a model with another number of inputs than one, or with one of a
   *   single dimension; `option-out-of-range` for another batch size than the model's; those of
   *   {@link OnnxSession.open} and {@link serializeOnnx}
   */
  static async open(model: OnnxModel, options: ImageModelOptions): Promise<ImageModel> {
    const { threads } = options;
    const session = await OnnxSession.open(serializeOnnx(model), {
      path: model.path,
      ...(threads !== undefined && { threads }),
    });
    try {
      return new ImageModel(session, options);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /**
   * Runs one batch, filled up with zeros to the size that the model fixes; outputs of that fill are cut off.
   * @param images N x C x H x W or N x H x W x C or other tensors, as the model takes it, N at most the batch size.
   * @param outputs names of those wanted (default: all).
   * @throws DoubleSparseError those of {@link OnnxSession.run}
   */
  async run(images: Tensor, outputs?: readonly string[]): Promise<Record<string, Tensor>> {
    const [count = 0, ...dims] = images.dims;
    if (!this.fixed || count >= this.batchSize) return this.session.run({ [this.#input]: images }, outputs);
    const full = new Float32Array(this.batchSize * elementCount(dims));
    full.set(images.data);
    const results = await this.session.run({ [this.#input]: { dims: [this.batchSize, ...dims], data: full } }, outputs);
    return Object.fromEntries(
      Object.entries(results).map(([name, result]) => [name, firstRows(result, count, this.batchSize)]),
    );
  }

  close(): Promise<void> {
    return this.session.close();
  }
}

function firstRows(result: Tensor, count: number, of: number): Tensor {
  const [rows, ...dims] = result.dims;
  if (rows !== of) return result;
  return { dims: [count, ...dims], data: result.data.subarray(0, count * elementCount(dims)) };
}

function onlyInput({ path, inputs }: OnnxSession): SessionTensor {
  const [input] = inputs;
  const names = inputs.map(({ name, dims }) => `${name} [${dims}]`);
  const problem =
    inputs.length !== 1
      ? `${inputs.length} inputs (${names.join(', ')})`
      : input?.dims.length === 1 && `the input ${names[0]}`;
  if (input && !problem) return input;
  throw new DoubleSparseError('file-unsupported', `${path} has ${problem}, which is not one batch`, {
    data: { path, inputs: names },
    hint: 'models with one input, images or other tensors of two dimensions and more, can be run',
  });
}
