import { writeFileSync } from 'node:fs';
import type { NodeDescription } from '../../../src/formats/onnx/node.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { idxBytes } from '../../calibration/images/idx-bytes.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import { fillRandom, seededRandom } from '../../helpers.js';

/** Images have side x side pixels. */
export const [side, classes] = [8, 3];

export const node = (
  opType: string,
  input: string[],
  output: string,
  attributes: NodeDescription['attributes'] = {},
): NodeDescription => ({ opType, name: `${opType}-${output}`, input, output: [output], attributes });

/** Stripes down, stripes across, and noise. */
export function writeImages(path: string, labelsPath: string, count: number, seed: number): void {
  const random = seededRandom(seed);
  const labels = Uint8Array.from({ length: count }, (_, i) => i % classes);
  const pixels = new Uint8Array(count * side * side);
  for (let at = 0; at < pixels.length; at++) {
    const [label, y, x] = [labels[Math.floor(at / side ** 2)], Math.floor(at / side) % side, at % side];
    const on = label === 2 ? random() < 0.5 : ((label === 0 ? x : y) >> 1) % 2 === 0;
    pixels[at] = 60 * random() + (on ? 190 : 0);
  }
  writeFileSync(path, idxBytes(8, [count, side, side], pixels));
  writeFileSync(labelsPath, idxBytes(8, [count], labels));
}

export function weight(name: string, shape: number[], seed: number) {
  const size = shape.reduce((product, each) => product * each, 1);
  const scale = 1.5 / Math.sqrt(size / (shape[0] as number));
  const values = fillRandom(new Float32Array(size), seed).map((value) => value * scale);
  return floatTensor(name, 'F32', shape, values);
}

export const vector = (name: string, length: number, value: number) =>
  floatTensor(name, 'F32', [length], new Float32Array(length).fill(value));

/** A small network of all that a compressed one may have. @param channels of its convolutions. */
export function smallModel(channels: number): Uint8Array {
  const pads = { pads: [1, 1, 1, 1] };
  return buildModel({
    nodes: [
      node('Conv', ['image', 'w1', 'b1'], 'a', pads),
      node('Relu', ['a'], 'b'),
      node('Conv', ['b', 'w2'], 'c', pads),
      node('BatchNormalization', ['c', 'scale', 'shift', 'mean', 'variance'], 'd'),
      node('Add', ['d', 'b'], 'e'),
      node('Relu', ['e'], 'f'),
      node('GlobalAveragePool', ['f'], 'g'),
      node('Flatten', ['g'], 'h'),
      node('Gemm', ['h', 'w3', 'b3'], 'logits', { transB: 1 }),
    ],
    initializers: [
      ...[weight('w1', [channels, 1, 3, 3], 1), weight('w2', [channels, channels, 3, 3], 2)],
      ...[weight('w3', [classes, channels], 3), vector('b1', channels, 0), vector('b3', classes, 0)],
      ...[vector('scale', channels, 1), vector('shift', channels, 0)],
      ...[vector('mean', channels, 0), vector('variance', channels, 1)],
    ],
    inputs: { image: ['n', 1, side, side] },
    outputs: ['logits'],
  });
}
