import { makeAttribute, makeNode } from '../../../src/formats/onnx/node.js';
import type { NodeProto, TensorProto } from '../../../src/formats/onnx/proto/onnx_pb.js';
import { floatTensor } from '../../../src/formats/onnx/tensor.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import { fillRandom } from '../../helpers.js';

/** Images are gray, 8 x 8. */
export const imageSide = 8;

export interface ResidualDescription {
  /** Groups of the second convolution (default 1). */
  groups?: number;
  /** Is the batch normalisation folded into the convolutions (default false)? */
  folded?: boolean;
  /** Put NaN into the second convolution (default false). */
  damaged?: boolean;
  /** Images that it takes at a time (default: any number). */
  batch?: number | 'n';
}

const channels = 8;
const classes = 5;

/**
 * Bytes of a small residual network: conv - norm - relu, then conv - norm - relu - conv - norm behind a shortcut, relu,
 * mean over positions, product.
 */
export function residualModel({ groups = 1, folded = false, damaged = false, batch = 'n' }: ResidualDescription = {}) {
  const nodes: NodeProto[] = [];
  const initializers: TensorProto[] = [];
  let seed = 1;
  const add = (name: string, shape: number[], change: (value: number) => number): string => {
    const values = fillRandom(new Float32Array(shape.reduce((a, b) => a * b, 1)), seed++);
    initializers.push(floatTensor(name, 'F32', shape, values.map(change)));
    return name;
  };
  const block = (name: string, input: string, from: number, group: number): string => {
    const scale = 1.5 / Math.sqrt((9 * from) / group);
    const weight = add(`${name}.weight`, [channels, from / group, 3, 3], (value) => scale * value);
    const bias = folded ? [add(`${name}.bias`, [channels], (value) => 0.1 * value)] : [];
    nodes.push(
      makeNode({
        opType: 'Conv',
        name,
        input: [input, weight, ...bias],
        output: [`${name}.out`],
        attributes: [makeAttribute('group', group), makeAttribute('pads', [1, 1, 1, 1])],
      }),
    );
    if (folded) return `${name}.out`;
    const parameters = [
      add(`${name}.scale`, [channels], (value) => 1 + 0.3 * value),
      add(`${name}.shift`, [channels], (value) => 0.2 * value),
      add(`${name}.mean`, [channels], (value) => 0.1 * value),
      add(`${name}.variance`, [channels], (value) => 0.5 + 0.2 * value),
    ];
    nodes.push(
      makeNode({ opType: 'BatchNormalization', input: [`${name}.out`, ...parameters], output: [`${name}.norm`] }),
    );
    return `${name}.norm`;
  };
  const node = (opType: string, input: string[], output: string): string => {
    nodes.push(makeNode({ opType, input, output: [output] }));
    return output;
  };
  const first = node('Relu', [block('first', 'x', 1, 1)], 'a');
  const second = node('Relu', [block('second', first, channels, groups)], 'b');
  if (damaged) initializers.find(({ name }) => name === 'second.weight')!.rawData.fill(0xff, 0, 4);
  const sum = node('Add', [block('third', second, channels, 1), first], 'c');
  const pooled = node('GlobalAveragePool', [node('Relu', [sum], 'd')], 'e');
  const flat = node('Flatten', [pooled], 'f');
  const weight = add('head.weight', [classes, channels], (value) => value);
  const bias = add('head.bias', [classes], (value) => value);
  nodes.push(
    makeNode({
      opType: 'Gemm',
      name: 'head',
      input: [flat, weight, bias],
      output: ['logits'],
      attributes: { transB: 1 },
    }),
  );
  return buildModel({ nodes, initializers, inputs: { x: [batch, 1, imageSide, imageSide] }, outputs: ['logits'] });
}

/** 8-bit pixels of images that follow from the seed: smooth, as real ones are. */
export function imagePixels(images: number, seed: number): Uint8Array {
  const size = imageSide ** 2;
  const values = fillRandom(new Float32Array(images * 6), seed);
  return Uint8Array.from({ length: images * size }, (_, at) => {
    const [image, position] = [Math.floor(at / size), at % size];
    const [y, x] = [Math.floor(position / imageSide), position % imageSide];
    const [a, b, c, d, e, f] = values.subarray(6 * image, 6 * image + 6) as unknown as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const wave = a + b * Math.sin(c * 2 * x + d) + e * Math.cos(f * 2 * y + a);
    return Math.max(0, Math.min(255, Math.round(128 + 60 * wave)));
  });
}
