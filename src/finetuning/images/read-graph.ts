import { convolutionAxes } from '../../calibration/convolution-geometry.js';
import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel, OnnxNode } from '../../formats/onnx/model.js';
import { floatAttribute, integerAttribute, integersAttribute, isStandard } from '../../formats/onnx/node.js';
import type { NodeProto } from '../../formats/onnx/proto/onnx_pb.js';
import { rawTensorBytes } from '../../formats/onnx/tensor.js';
import { batchNormalizationOf } from '../../models/cnn/batch-normalization.js';
import { type FloatConstant, findConstant } from '../../models/cnn/constants.js';
import { convolutionGeometry } from '../../models/cnn/geometry.js';
import { type GraphIndex, indexGraph } from '../../models/cnn/graph-index.js';
import type { Weight } from '../../training/operations/context.js';
import type { Windows } from '../../training/windows.js';
import type { GraphWeights } from './graph-weights.js';
import { poolingWindows, wholeImage } from './pooling-windows.js';
import type { GraphStep, TrainedGraph } from './trained-graph.js';

/** A value: its number, and the size of its images (1 x 1 where each has one row). */
interface GraphValue {
  readonly number: number;
  /** Is it N x C, not N x C x H x W? */
  readonly flat: boolean;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/**
 * Reads a model of convolutions, batch normalisations, ReLU, additions, poolings and products from one input, images,
 * to its first output, logits (a Softmax or LogSoftmax at the end is left away).
 * @param model without packed weights.
 * @throws DoubleSparseError `file-unsupported` naming a node that is not known, `shape-mismatch`
 */
export function readGraph(model: OnnxModel, input: TrainedGraph['input'], weights: GraphWeights): TrainedGraph {
  return new GraphReader(model, input, weights).read();
}

type WithoutPlaces<Step> = Step extends GraphStep ? Omit<Step, 'input' | 'output'> : never;

class GraphReader {
  readonly #model: OnnxModel;
  readonly #index: GraphIndex;
  readonly #weights: GraphWeights;
  readonly #input: TrainedGraph['input'];
  readonly #values = new Map<string, GraphValue>();
  readonly #steps: GraphStep[] = [];
  #count = 1;

  constructor(model: OnnxModel, input: TrainedGraph['input'], weights: GraphWeights) {
    this.#model = model;
    this.#index = indexGraph(model);
    this.#weights = weights;
    this.#input = input;
  }

  read(): TrainedGraph {
    const model = this.#model;
    const inputs = model.inputs.filter(({ message }) => !model.initializers.has(message.name));
    const [first] = inputs;
    const output = model.outputs[0]?.message.name;
    if (!first || inputs.length > 1 || output === undefined)
      throw this.#unsupported(`has ${inputs.length} inputs and ${model.outputs.length} outputs, not one input`);
    this.#values.set(first.message.name, { number: 0, flat: false, ...this.#input });
    for (const node of model.nodes) {
      if (node.message.output.every((name) => this.#index.constants.has(name))) continue;
      const done = this.#read(node);
      for (const [name, value] of done) this.#values.set(name, value);
    }
    const logits = this.#values.get(output);
    if (!logits || logits.height * logits.width !== 1)
      throw this.#unsupported(`makes ${output}, which is not one row of logits an image`);
    return { steps: this.#steps, logits: logits.number, input: this.#input, classes: logits.channels };
  }

  #read(node: OnnxNode): [string, GraphValue][] {
    const { message } = node;
    const [inputName, secondName] = message.input;
    const [output] = message.output;
    const x = this.#values.get(inputName ?? '');
    if (!isStandard(message) || !output) throw this.#unknown(message, 'is not known');
    if (message.opType === 'Add') return [[output, this.#add(node, inputName ?? '', secondName ?? '')]];
    if (!x) throw this.#unknown(message, `reads ${inputName}, which no known operation makes of the images`);
    return [[output, this.#operation(node, x)]];
  }

  #operation(node: OnnxNode, x: GraphValue): GraphValue {
    const { message } = node;
    switch (message.opType) {
      case 'Conv':
        return this.#convolution(message, x);
      case 'BatchNormalization':
        return this.#batchNormalization(node, x);
      case 'Relu':
        return this.#step({ kind: 'relu' }, x, x);
      case 'Gemm':
      case 'MatMul':
        return this.#product(message, x);
      case 'MaxPool':
      case 'AveragePool':
        return this.#pooling(message, x);
      case 'GlobalAveragePool':
        return this.#pool(wholeImage(x), 'averagePooling', x);
      case 'GlobalMaxPool':
        return this.#pool(wholeImage(x), 'maximumPooling', x);
      case 'ReduceMean':
        return this.#mean(message, x);
      case 'Flatten':
        if (integerAttribute(message, 'axis', 1) !== 1)
          throw this.#unknown(message, 'flattens along another axis than 1');
        return this.#flatten(x);
      case 'Reshape':
        return this.#reshape(message, x);
      case 'Softmax':
      case 'LogSoftmax':
        return this.#softmax(message, x);
      case 'Identity':
      case 'Dropout':
        return x;
      default:
        throw this.#unknown(message, 'cannot be trained through');
    }
  }

  #convolution(message: NodeProto, x: GraphValue): GraphValue {
    const [, weightName, biasName] = message.input;
    const constant = this.#constant(message, weightName);
    const found = convolutionGeometry(message, constant.shape);
    if (typeof found === 'string') throw this.#unknown(message, found);
    const { geometry, groups } = found;
    if (geometry.kernel.length !== 2) throw this.#unknown(message, 'is no 2-D convolution');
    const [height, width] = convolutionAxes(geometry, [x.height, x.width]);
    const [out, perGroup] = constant.shape as [number, number];
    if (perGroup * groups !== x.channels)
      throw this.#unknown(message, `takes ${perGroup * groups} channels, its input has ${x.channels}`);
    const weight = this.#weights.convolution(constant);
    const bias = biasName ? { bias: this.#weights.bias(this.#constant(message, biasName)) } : {};
    const size = { height: height.output, width: width.output, channels: out, flat: false };
    const pointwise = [height, width].every(
      ({ kernel, stride, begin, input, output }) => kernel === 1 && stride === 1 && begin === 0 && input === output,
    );
    const layer = { weight, ...bias };
    if (pointwise && groups === 1) return this.#step({ kind: 'linear', layer }, x, size);
    return this.#step({ kind: 'convolution', layer, shape: { height, width, groups } }, x, size);
  }

  #batchNormalization(node: OnnxNode, x: GraphValue): GraphValue {
    const found = batchNormalizationOf(this.#model, this.#index, node);
    if (!found) throw this.#unknown(node.message, 'is in training mode, or its parameters are computed');
    const { scale, shift, mean, variance, epsilon } = found;
    if (scale.shape[0] !== x.channels)
      throw this.#unknown(node.message, `has ${scale.shape[0]} channels, its input ${x.channels}`);
    const [ofScale, ofShift] = [this.#weights.normalization(scale), this.#weights.bias(shift)];
    const [ofMean, ofVariance] = [this.#weights.fixed(mean), this.#weights.fixed(variance)];
    const layer = { scale: ofScale, shift: ofShift, mean: ofMean, variance: ofVariance, epsilon };
    return this.#step({ kind: 'batchNormalization', layer }, x, x);
  }

  #product(message: NodeProto, x: GraphValue): GraphValue {
    const [, weightName, biasName] = message.input;
    const isGemm = message.opType === 'Gemm';
    const one = (name: string) => floatAttribute(message, name, 1) === 1;
    if (isGemm && (integerAttribute(message, 'transA', 0) !== 0 || !one('alpha') || (biasName && !one('beta'))))
      throw this.#unknown(message, 'has transA, alpha or beta');
    const constant = this.#constant(message, weightName);
    if (constant.shape.length !== 2 || !x.flat) throw this.#unknown(message, 'is no product of rows with a matrix');
    const transposed = !isGemm || integerAttribute(message, 'transB', 0) === 0;
    const weight = this.#weights.product(constant, transposed);
    if (weight.value.columns !== x.channels)
      throw this.#unknown(message, `takes ${weight.value.columns} numbers, its input has ${x.channels}`);
    const result = { ...x, channels: weight.value.rows };
    return this.#step(
      { kind: 'linear', layer: { weight, ...this.#productBias(message, biasName, result) } },
      x,
      result,
    );
  }

  #productBias(message: NodeProto, name: string | undefined, result: Omit<GraphValue, 'number'>): { bias?: Weight } {
    if (!name) return {};
    const constant = this.#constant(message, name);
    if (isPerChannel(constant.shape, result)) return { bias: this.#weights.bias(constant) };
    // Before version 11 of the operators a Gemm had to have one.
    if (this.#model.readFloats(constant.tensor).every((value) => value === 0)) return {};
    throw this.#unknown(message, `adds a constant of shape [${constant.shape}], not one number for each output`);
  }

  #add({ message }: OnnxNode, leftName: string, rightName: string): GraphValue {
    const [left, right] = [this.#values.get(leftName), this.#values.get(rightName)];
    if (!left && !right) throw this.#unknown(message, 'adds something else than values made of the images');
    if (left && right) {
      const same = (['flat', 'height', 'width', 'channels'] as const).every((key) => left[key] === right[key]);
      if (!same) throw this.#unknown(message, 'adds values of different shapes');
      return this.#step({ kind: 'add', other: right.number }, left, left);
    }
    const x = (left ?? right) as GraphValue;
    const constant = this.#constant(message, left ? rightName : leftName);
    if (!isPerChannel(constant.shape, x))
      throw this.#unknown(message, `adds a constant of shape [${constant.shape}], not one number for each channel`);
    return this.#step({ kind: 'bias', bias: this.#weights.bias(constant) }, x, x);
  }

  #pooling(message: NodeProto, x: GraphValue): GraphValue {
    const windows = poolingWindows(message, x);
    if (!windows) throw this.#unknown(message, 'is no 2-D pooling of whole windows');
    const countsPadding = integerAttribute(message, 'count_include_pad', 0) !== 0;
    return this.#pool(windows, message.opType === 'MaxPool' ? 'maximumPooling' : 'averagePooling', x, countsPadding);
  }

  #pool(windows: Windows, kind: 'maximumPooling' | 'averagePooling', x: GraphValue, countsPadding = false): GraphValue {
    const size = { height: windows.height.output, width: windows.width.output, channels: x.channels, flat: false };
    if (kind === 'maximumPooling') return this.#step({ kind, windows }, x, size);
    return this.#step({ kind, windows, countsPadding }, x, size);
  }

  /** The mean over an image, which exporters write for a global average pooling. */
  #mean(message: NodeProto, x: GraphValue): GraphValue {
    const axes = integersAttribute(message, 'axes') ?? this.#integers(message.input[1]) ?? [];
    if ([...axes].sort().join() !== '2,3' && [...axes].sort().join() !== '-1,-2')
      throw this.#unknown(message, `takes the mean over axes ${axes}, not over an image`);
    return { ...this.#pool(wholeImage(x), 'averagePooling', x), flat: integerAttribute(message, 'keepdims', 1) === 0 };
  }

  /** Logits are what comes before it. */
  #softmax(message: NodeProto, x: GraphValue): GraphValue {
    const name = message.output[0] as string;
    const { outputs, uses, subgraphNames } = this.#index;
    if (!outputs.has(name) || uses.has(name) || subgraphNames.has(name))
      throw this.#unknown(message, 'is not at the end of the graph');
    // Since version 13 of the operators the default is the last one.
    const axis = integerAttribute(message, 'axis', this.#model.opset < 13 ? 1 : -1);
    if (axis !== 1 && !(axis === -1 && x.flat))
      throw this.#unknown(message, `is taken along axis ${axis}, not classes`);
    return x;
  }

  #reshape(message: NodeProto, x: GraphValue): GraphValue {
    const shape = this.#integers(message.input[1]);
    const size = x.height * x.width * x.channels;
    if (shape?.length !== 2 || (shape[1] !== -1 && shape[1] !== size))
      throw this.#unknown(message, 'makes something else than one row an image');
    return this.#flatten(x);
  }

  #flatten(x: GraphValue): GraphValue {
    const positions = x.height * x.width;
    if (positions === 1) return { ...x, flat: true };
    const size = { height: 1, width: 1, channels: positions * x.channels, flat: true };
    return this.#step({ kind: 'flatten', positions }, x, size);
  }

  #step(step: WithoutPlaces<GraphStep>, x: GraphValue, size: Omit<GraphValue, 'number'>): GraphValue {
    const { height, width, channels, flat } = size;
    const output = this.#count++;
    this.#steps.push({ ...step, input: x.number, output } as GraphStep);
    return { number: output, height, width, channels, flat };
  }

  #constant(message: NodeProto, name: string | undefined): FloatConstant {
    const found = findConstant(this.#model, this.#index, name ?? '');
    if (typeof found === 'string') throw this.#unknown(message, `has a parameter ${name} that ${found}`);
    return found;
  }

  #integers(name: string | undefined): number[] | undefined {
    const node = name === undefined ? undefined : this.#index.producers.get(name)?.message;
    const tensor =
      this.#model.initializers.get(name ?? '')?.message ?? node?.attribute.find((each) => each.name === 'value')?.t;
    const bytes = tensor && rawTensorBytes(tensor, this.#model);
    return bytes && bytes.byteLength % 8 === 0
      ? Array.from(new BigInt64Array(Uint8Array.from(bytes).buffer), Number)
      : undefined;
  }

  #unknown({ name, output, opType }: NodeProto, problem: string): DoubleSparseError {
    return this.#unsupported(`cannot be trained: ${name || output[0]} (${opType}) ${problem}`);
  }

  #unsupported(problem: string): DoubleSparseError {
    const { path } = this.#model;
    return new DoubleSparseError('file-unsupported', `${path} ${problem}`, {
      data: { path },
      hint: 'models of Conv, BatchNormalization, Relu, Add, pooling, Flatten, Gemm and MatMul are trained',
    });
  }
}

/** Does a constant of this shape add one number to each channel, as shapes are broadcast? */
function isPerChannel(shape: readonly number[], { flat, channels }: Omit<GraphValue, 'number'>): boolean {
  const behind = flat ? 0 : 2;
  const channel = shape.length - 1 - behind;
  return (
    shape.length <= 2 + behind && channel >= 0 && shape.every((size, i) => size === (i === channel ? channels : 1))
  );
}
