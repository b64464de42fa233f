import { ImageModel } from '../../calibration/image-model.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { keptMultiplyAdds, layerMultiplyAdds } from '../../models/cnn/counts.js';
import { partialModel } from '../../models/cnn/partial-model.js';
import type { CalibrationImages } from './calibration-images.js';
import type { CnnPlan, PlannedLayer } from './planned-layer.js';

/** Multiply-adds of a model for one image. */
export interface ModelCosts {
  /** Of one nonzero of each layer: the positions at which it is used. */
  readonly unitCosts: ReadonlyMap<PlannedLayer, number>;
  /** Of all layers that are compressed, while they are dense. */
  readonly layers: number;
  /** Of kept layers as far as they can be told. */
  readonly kept: number;
}

/** Counts on the shapes that the tensors of a model have for the calibration images. */
export async function modelCosts(
  model: OnnxModel,
  { layers, kept }: CnnPlan,
  images: CalibrationImages,
  { layout, threads }: { readonly layout: 'nchw' | 'nhwc'; readonly threads: number },
): Promise<ModelCosts> {
  const made = new Set(model.nodes.flatMap(({ message }) => message.output));
  const countable = kept.filter(({ output, channels }) => channels !== undefined && made.has(output));
  const names = [
    ...layers.flatMap(({ layer }) => layer.uses.map(({ output }) => output)),
    ...countable.map(({ output }) => output),
  ];
  const opened = await ImageModel.open(partialModel(model, names), { layout, threads });
  try {
    for await (const batch of images.batches(1)) {
      const tensors = await opened.run(batch);
      const shapes = new Map(Object.entries(tensors).map(([name, { dims }]) => [name, dims]));
      const count = batch.dims[0];
      const unitCosts = new Map(
        layers.map((planned) => [planned, layerMultiplyAdds(planned.layer, 1, shapes) / count]),
      );
      return {
        unitCosts,
        layers: layers.reduce((sum, planned) => sum + planned.entries * unitCosts.get(planned)!, 0),
        kept: countable.reduce((sum, layer) => sum + (keptMultiplyAdds(layer, shapes) ?? 0) / count, 0),
      };
    }
  } finally {
    await opened.close();
  }
  throw new Error('there are calibration images, or reading them has failed');
}
