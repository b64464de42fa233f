import { join } from 'node:path';
import { expect, it } from 'vitest';
import { GraphWeights } from '../../../src/finetuning/images/graph-weights.js';
import { readGraph } from '../../../src/finetuning/images/read-graph.js';
import { runGraph } from '../../../src/finetuning/images/trained-graph.js';
import { decodeFloats } from '../../../src/formats/dtype.js';
import type { NodeDescription } from '../../../src/formats/onnx/node.js';
import { parseOnnx } from '../../../src/formats/onnx/reader.js';
import { floatTensor, rawTensor } from '../../../src/formats/onnx/tensor.js';
import { SafetensorsFile } from '../../../src/formats/safetensors/reader.js';
import { Compute } from '../../../src/linalg/compute.js';
import { createEngine } from '../../../src/linalg/engines/select.js';
import { matrix } from '../../../src/linalg/matrix.js';
import { llamaKernels } from '../../../src/models/llama/wasm-kernels.js';
import { classificationLoss } from '../../../src/training/operations/classification-loss.js';
import type { OperationContext } from '../../../src/training/operations/context.js';
import { pullBack } from '../../../src/training/parameter.js';
import { Tape } from '../../../src/training/tape.js';
import { wasmTrainingKernels } from '../../../src/training/wasm-kernels.js';
import { errorOf } from '../../formats/expect-error.js';
import { buildModel } from '../../formats/onnx/build-model.js';
import '../../helpers.js';

// Of golden/make_goldens.py.
const golden = new SafetensorsFile(join(import.meta.dirname, 'golden/images.safetensors'));
const tensor = (name: string) => decodeFloats('F32', golden.readBytes(name));
const shapes = [...golden.header.tensors.keys()];
const size = { height: 9, width: 8, channels: 3 };
const labels = Int32Array.of(1, 4, 0, 2);
/** fp32 against float64, sums of some hundred products. */
const tolerance = { rtol: 1e-5, atol: 1e-5 };

const node = (
  opType: string,
  input: string[],
  output: string,
  attributes: NodeDescription['attributes'] = {},
): NodeDescription => ({ opType, input, output: [output], attributes });
const parameters = shapes.filter((name) => /^(c1|c2|c3|bn|fc)\.\w+$/.test(name));

/** The network of golden/make_goldens.py as ONNX. */
function goldenModel(extra: NodeDescription[] = [], output = 'logits') {
  const [pads1, pads2] = [
    [1, 1, 1, 1],
    [2, 1, 2, 0],
  ];
  const bytes = buildModel({
    nodes: [
      node('Conv', ['image', 'c1.weight', 'c1.bias'], 'a', { strides: [2, 2], pads: pads1 }),
      node('BatchNormalization', ['a', 'bn.scale', 'bn.shift', 'bn.mean', 'bn.variance'], 'b'),
      node('Relu', ['b'], 'skip'),
      node('Conv', ['skip', 'c2.weight', 'c2.bias'], 'c', { dilations: [2, 1], pads: pads2, group: 2 }),
      node('Conv', ['skip', 'c3.weight'], 'd'),
      node('Add', ['c', 'd'], 'e'),
      node('MaxPool', ['e'], 'f', { kernel_shape: [3, 3], pads: pads1 }),
      node('AveragePool', ['f'], 'g', { kernel_shape: [2, 2], strides: [2, 2] }),
      node('Flatten', ['g'], 'h'),
      node('Gemm', ['h', 'fc.weight', 'fc.bias'], 'logits', { transB: 1 }),
      ...extra,
    ],
    initializers: parameters.map((name) =>
      floatTensor(name, 'F32', golden.tensor(name).shape as number[], tensor(name)),
    ),
    inputs: { image: ['n', 3, 9, 8] },
    outputs: [output],
  });
  return parseOnnx(bytes, 'golden.onnx');
}

const compute = new Compute(createEngine('wasm'));
function contextFor(addGradient: OperationContext['addGradient']): OperationContext {
  return { compute, forward: llamaKernels(compute), backward: wasmTrainingKernels(compute.arena), addGradient };
}

it('losses and gradients of a network are those of PyTorch', () => {
  const model = goldenModel();
  const weights = new GraphWeights(model, new Map(), ['linear', 'norms', 'biases']);
  const graph = readGraph(model, size, weights);
  const values = weights.finish();
  const gradients = new Float32Array(values.length);
  const context = contextFor((parameter, gradient) => pullBack(compute, values, gradients, parameter, gradient));
  compute.scope(() => {
    const images = compute.matrix(4 * 72, 3);
    for (let i = 0; i < 4; i++)
      for (let p = 0; p < 72; p++)
        for (let c = 0; c < 3; c++)
          images.data[(i * 72 + p) * 3 + c] = tensor('images')[(i * 3 + c) * 72 + p] as number;
    const tape = new Tape(compute);
    const logits = runGraph(context, tape, graph, { value: images });
    expect(logits.value).toBeAllclose(tensor('logits'), tolerance);
    const teacher = { logits: matrix(4, 5, tensor('teacher')), weight: 0.25 };
    const { crossEntropy, divergence } = classificationLoss(context, tape, logits, { labels, scale: 0.25, teacher });
    tape.backward();
    expect(Float32Array.of(crossEntropy, divergence)).toBeAllclose(tensor('sums'), tolerance);
  });
  for (const { constant, offset, places } of weights.stored) {
    const expected = Float32Array.from(places, (place) => tensor(`${constant.name}.gradient`)[place] as number);
    expect(gradients.subarray(offset, offset + places.length), constant.name).toBeAllclose(expected, tolerance);
  }
  expect(weights.stored).toHaveLength(parameters.length - 2);
});

it('a Softmax at the end is left away, a Reshape to rows is a Flatten', () => {
  const softmax = goldenModel([node('Softmax', ['logits'], 'probabilities')], 'probabilities');
  const weights = new GraphWeights(softmax, new Map(), []);
  expect(readGraph(softmax, size, weights)).toMatchObject({ classes: 5 });
  expect(weights.finish()).toHaveLength(0);
  const shape = rawTensor('shape', 7, [2], new Uint8Array(BigInt64Array.of(0n, -1n).buffer));
  const bytes = buildModel({
    nodes: [node('Relu', ['image'], 'a'), node('Reshape', ['a', 'shape'], 'logits')],
    initializers: [shape],
    inputs: { image: ['n', 3, 9, 8] },
    outputs: ['logits'],
  });
  const model = parseOnnx(bytes, 'reshape.onnx');
  expect(readGraph(model, size, new GraphWeights(model, new Map(), []))).toMatchObject({ classes: 216 });
});

it('a Softmax in the middle is refused by name, a LogSoftmax at the end is left away', () => {
  const refused = (extra: NodeDescription[], output: string) => {
    const model = goldenModel(extra, output);
    return errorOf(() => readGraph(model, size, new GraphWeights(model, new Map(), [])), 'file-unsupported').message;
  };
  const middle = [node('Softmax', ['logits'], 'p'), node('MatMul', ['p', 'fc.weight'], 'q')];
  expect(refused(middle, 'q')).toContain('p (Softmax) is not at the end of the graph');
  // An output that others read too.
  expect(refused(middle, 'p')).toContain('p (Softmax) is not at the end of the graph');
  expect(refused([node('LogSoftmax', ['logits'], 'p', { axis: 0 })], 'p')).toContain('axis 0');
  const log = goldenModel([node('LogSoftmax', ['logits'], 'p', { axis: 1 })], 'p');
  expect(readGraph(log, size, new GraphWeights(log, new Map(), []))).toMatchObject({ classes: 5 });
});

it('what cannot be trained through is named', () => {
  const model = goldenModel([{ ...node('Sin', ['logits'], 'waves'), name: 'wave' }], 'waves');
  const error = errorOf(() => readGraph(model, size, new GraphWeights(model, new Map(), [])), 'file-unsupported');
  expect(error.message).toContain('wave (Sin) cannot be trained through');
});

it('a constant is added where it has one number a channel, as shapes are broadcast', () => {
  const read = (shape: number[], before: NodeDescription[], name: string) => {
    const bytes = buildModel({
      nodes: [...before, node('Add', ['bias', name], 'a'), node('Flatten', ['a'], 'logits')],
      initializers: [floatTensor('bias', 'F32', shape, new Float32Array(3).fill(1))],
      inputs: { image: ['n', 3, 9, 8] },
      outputs: ['logits'],
    });
    const model = parseOnnx(bytes, 'bias.onnx');
    const weights = new GraphWeights(model, new Map(), ['biases']);
    readGraph(model, size, weights);
    return weights.finish().length;
  };
  const pooled = [node('ReduceMean', ['image'], 'rows', { axes: [2, 3], keepdims: 0 })];
  for (const shape of [
    [3, 1, 1],
    [1, 3, 1, 1],
  ])
    expect(read(shape, [], 'image')).toBe(3);
  for (const shape of [[3], [1, 3]]) expect(read(shape, pooled, 'rows')).toBe(3);
  for (const shape of [[3], [1, 3], [3, 1], [1, 1, 3, 1]])
    expect(errorOf(() => read(shape, [], 'image'), 'file-unsupported').message).toContain(`shape [${shape}]`);
  for (const shape of [
    [3, 1],
    [1, 1, 3],
    [3, 1, 1],
  ])
    expect(errorOf(() => read(shape, pooled, 'rows'), 'file-unsupported').message).toContain(`shape [${shape}]`);
});
