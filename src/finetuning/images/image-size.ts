import { type ImageSize, imageBatches, selectImages } from '../../calibration/images/image-batches.js';
import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import type { FinetuneImages } from './image-data.js';
import type { TrainedGraph } from './trained-graph.js';

/**
 * Height, width and channels of the images after preprocessing.
 * @throws DoubleSparseError `option-out-of-range` when the model declares other ones, and for another order of dimensions
 *   than N x C x H x W; `file-unreadable` when there is no image
 */
export async function imageSize(
  model: OnnxModel,
  { training: { source }, preprocessing }: FinetuneImages,
): Promise<TrainedGraph['input']> {
  if (preprocessing.layout !== 'nchw') {
    throw new DoubleSparseError('option-out-of-range', `the layout ${preprocessing.layout} of images`, {
      data: { option: 'layout', value: preprocessing.layout },
      hint: 'models that take nchw can be trained',
    });
  }
  const size = declaredSize(model);
  const options = { preprocessing: { ...preprocessing, layout: 'nhwc' as const }, batchSize: 1, size };
  for await (const { images } of imageBatches(source, selectImages(source, undefined, 0), options)) {
    const [, height, width, channels] = images.dims as [number, number, number, number];
    return { height, width, channels };
  }
  throw new DoubleSparseError('file-unreadable', `${source.path} holds no images`);
}

/** What the file says of its input, N x C x H x W; sizes that it leaves open are undefined. */
function declaredSize({ inputs, initializers }: OnnxModel): ImageSize {
  const type = inputs.find(({ message }) => !initializers.has(message.name))?.message.type?.value;
  const dims = type?.case === 'tensorType' ? (type.value.shape?.dim ?? []) : [];
  const [, channels, height, width] = dims.map(({ value }) =>
    value.case === 'dimValue' && value.value > 0n ? Number(value.value) : undefined,
  );
  return { channels, height, width };
}
