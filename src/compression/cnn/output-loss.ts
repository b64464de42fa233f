import { ImageModel } from '../../calibration/image-model.js';
import type { Tensor } from '../../calibration/tensor.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import type { CalibrationImages } from './calibration-images.js';

export interface OutputLossOptions {
  readonly layout: 'nchw' | 'nhwc';
  readonly threads: number;
  /** Images from the first on. */
  readonly limit: number;
}

/** Outputs of a model on calibration images, batch by batch. */
export async function outputsOf(
  model: OnnxModel,
  images: CalibrationImages,
  { layout, threads, limit }: OutputLossOptions,
): Promise<Record<string, Tensor>[]> {
  const opened = await ImageModel.open(model, { layout, threads });
  const outputs: Record<string, Tensor>[] = [];
  try {
    for await (const batch of images.batches(limit)) outputs.push(await opened.run(batch));
  } finally {
    await opened.close();
  }
  return outputs;
}

/** Squared differences of outputs as a part of the squared outputs, summed over the outputs of the model. */
export function outputLoss(
  expected: readonly Readonly<Record<string, Tensor>>[],
  actual: readonly Readonly<Record<string, Tensor>>[],
): number {
  let loss = 0;
  for (const name of Object.keys(expected[0] ?? {})) {
    let [squares, differences] = [0, 0];
    for (const [batch, tensors] of expected.entries()) {
      const [x, y] = [tensors[name]!.data, actual[batch]![name]!.data];
      for (let i = 0; i < x.length; i++) {
        squares += x[i]! ** 2;
        differences += (x[i]! - y[i]!) ** 2;
      }
    }
    loss += squares > 0 ? differences / squares : 0;
  }
  return loss;
}
