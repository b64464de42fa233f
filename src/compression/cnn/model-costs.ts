import { ImageModel } from '../../calibration/image-model.js';
import type { Tensor } from '../../calibration/tensor.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { elementCount } from '../../linalg/element-count.js';
import { keptMultiplyAdds, layerMultiplyAdds } from '../../models/cnn/counts.js';
import { partialModel } from '../../models/cnn/partial-model.js';
import type { CalibrationImages } from './calibration-images.js';
import type { CnnPlan, PlannedLayer } from './planned-layer.js';

/** What a model computes and holds for one image. */
export interface ModelCosts {
  /** Multiply-adds of one nonzero of each layer: the positions at which it is used. */
  readonly unitCosts: ReadonlyMap<PlannedLayer, number>;
  /** Multiply-adds of all layers that are compressed, while they are dense. */
  readonly layers: number;
  /** Of kept layers as far as they can be told. */
  readonly kept: number;
  /** Bytes of the inputs of all layers together. */
  readonly inputBytes: number;
}

/** Counts on the shapes that the tensors of a model have for one calibration image, or a batch that the model fixes. */
export async function modelCosts(
  model: OnnxModel,
  { layers, kept }: CnnPlan,
  images: CalibrationImages,
  { layout, threads }: { readonly layout: 'nchw' | 'nhwc'; readonly threads: number },
): Promise<ModelCosts> {
  const made = new Set(model.nodes.flatMap(({ message }) => message.output));
  const countable = kept.filter(({ output, channels }) => channels !== undefined && made.has(output));
  const uses = layers.flatMap(({ layer }) => layer.uses);
  const inputs = new Set(uses.map(({ input }) => input));
  const names = [...inputs, ...uses.map(({ output }) => output), ...countable.map(({ output }) => output)];
  const wanted = [...new Set(names)].filter((name) => made.has(name));
  const opened = await ImageModel.open(partialModel(model, wanted), { layout, threads });
  try {
    for await (const image of images.batches(1)) {
      const count = opened.fixed ? opened.batchSize : 1;
      const batch = repeated(image, count);
      const tensors = Object.entries(await opened.run(batch, wanted));
      const shapes = new Map(tensors.map(([name, { dims }]) => [name, dims]));
      const unitCosts = new Map(
        layers.map((planned) => [planned, layerMultiplyAdds(planned.layer, 1, shapes) / count]),
      );
      return {
        unitCosts,
        layers: layers.reduce((sum, planned) => sum + planned.entries * unitCosts.get(planned)!, 0),
        kept: countable.reduce((sum, layer) => sum + (keptMultiplyAdds(layer, shapes) ?? 0) / count, 0),
        inputBytes:
          [...inputs].reduce((sum, name) => sum + 4 * elementCount(shapes.get(name) ?? batch.dims), 0) / count,
      };
    }
  } finally {
    await opened.close();
  }
  throw new Error('there are calibration images, or reading them has failed');
}

/** A batch of the same image. */
function repeated({ dims: [, ...dims], data }: Tensor, count: number): Tensor {
  const copies = new Float32Array(count * data.length);
  for (let i = 0; i < count; i++) copies.set(data, i * data.length);
  return { dims: [count, ...dims], data: copies };
}
