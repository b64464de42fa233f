import { floatTensor } from '../../src/formats/onnx/tensor.js';
import { buildModel } from '../formats/onnx/build-model.js';
import { fillRandom } from '../helpers.js';

/** Images are gray, 4 x 4. */
export const side = 4;
export const classes = 7;

/** 8-bit pixels of images that follow from the seed. */
export function randomPixels(images: number, seed: number): Uint8Array {
  const values = fillRandom(new Float32Array(images * side * side), seed);
  return Uint8Array.from(values, (value) => Math.floor(128 * (value + 1)));
}

export interface ClassifierDescription {
  seed?: number;
  /** Added to the first weight. */
  change?: number;
  /** Images that it takes at a time (default: any number). */
  batch?: number | 'n';
  /** Name of the second output, which is the first one's ReLU. */
  second?: string;
}

/** The weight of {@link classifierModel}, classes x pixels. */
export function classifierWeight({ seed = 1, change = 0 }: ClassifierDescription = {}): Float32Array {
  const weight = fillRandom(new Float32Array(classes * side * side), seed);
  weight[0] = (weight[0] as number) + change;
  return weight;
}

/** Bytes of a linear classifier of such images as a 4 x 4 convolution: logits [n, 7, 1, 1]. */
export function classifierModel(description: ClassifierDescription = {}): Uint8Array {
  const { batch = 'n', second } = description;
  const weight = floatTensor('w', 'F32', [classes, 1, side, side], classifierWeight(description));
  return buildModel({
    nodes: [
      { opType: 'Conv', name: 'conv', input: ['x', 'w'], output: ['logits'] },
      ...(second === undefined ? [] : [{ opType: 'Relu', input: ['logits'], output: [second] }]),
    ],
    initializers: [weight],
    inputs: { x: [batch, 1, side, side] },
    outputs: ['logits', ...(second === undefined ? [] : [second])],
  });
}
