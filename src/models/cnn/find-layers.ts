import type { ConvolutionGeometry } from '../../calibration/convolution-geometry.js';
import { DoubleSparseError } from '../../errors.js';
import { type OnnxModel, type OnnxNode, subgraphsOf } from '../../formats/onnx/model.js';
import { floatAttribute, integerAttribute, isStandard } from '../../formats/onnx/node.js';
import type { GraphProto, NodeProto } from '../../formats/onnx/proto/onnx_pb.js';
import { elementCount } from '../../linalg/element-count.js';
import { batchNormalizationOf } from './batch-normalization.js';
import { findBias, onlyReader } from './bias.js';
import { type FloatConstant, findConstant } from './constants.js';
import { convolutionGeometry } from './geometry.js';
import { type GraphIndex, indexGraph } from './graph-index.js';
import type { CnnLayer, KeptLayer, LayerKind, LayerUse } from './layer.js';

/** Before that, operators broadcast by an attribute, and onnxruntime does not run them. */
const oldestOpset = 7;

const kinds: Readonly<Record<string, LayerKind>> = { Conv: 'conv', MatMul: 'matmul', Gemm: 'gemm' };

/** A node that could be rewritten, if nothing else reads its weight in another way. */
interface Candidate extends Pick<CnnLayer, 'kind' | 'weight' | 'transposed' | 'rows' | 'columns' | 'groups'> {
  readonly node: OnnxNode;
  readonly geometry: ConvolutionGeometry | undefined;
}

/**
 * The convolutions and matrix products with constant weights that can be rewritten, and every other node with weights
 * with the reason why it stays; both in the order of execution.
 * @throws DoubleSparseError `file-unsupported` for operator sets before 7.
 */
export function findLayers(model: OnnxModel): { readonly layers: CnnLayer[]; readonly kept: KeptLayer[] } {
  if (model.opset < oldestOpset) {
    throw new DoubleSparseError(
      'file-unsupported',
      `${model.path} uses version ${model.opset} of the ONNX operators, ${oldestOpset} and newer are rewritten`,
      {
        data: { path: model.path, opset: model.opset },
        hint: 'convert it with onnx.version_converter',
      },
    );
  }
  const index = indexGraph(model);
  const candidates = new Map<string, Candidate[]>();
  const kept = new Map<OnnxNode, KeptLayer[]>();
  for (const node of model.nodes) {
    const found = examine(model, index, node);
    if (Array.isArray(found)) kept.set(node, found);
    else {
      const sharing = candidates.get(found.weight.name);
      if (sharing) sharing.push(found);
      else candidates.set(found.weight.name, [found]);
    }
  }
  const layers: CnnLayer[] = [];
  for (const group of candidates.values()) {
    const reason = conflict(index, group);
    if (reason === undefined) layers.push(layerOf(model, index, group));
    else
      for (const { node, weight, rows } of group)
        kept.set(node, [keptNode(node.message, reason, elementCount(weight.shape), rows)]);
  }
  const names = new Set<string>();
  return {
    layers: layers.map((layer) => {
      const taken = names.has(layer.name);
      names.add(taken ? (layer.uses[0] as LayerUse).output : layer.name);
      return taken ? { ...layer, name: (layer.uses[0] as LayerUse).output } : layer;
    }),
    kept: model.nodes.flatMap((node) => kept.get(node) ?? []),
  };
}

/** What a node is: a candidate, or what to report of it (nothing for a node without weights). */
function examine(model: OnnxModel, index: GraphIndex, node: OnnxNode): Candidate | KeptLayer[] {
  const { message } = node;
  const inSubgraphs = subgraphsOf(message).flatMap((graph) => weightsInside(graph, nameOf(message)));
  const kind = isStandard(message) ? kinds[message.opType] : undefined;
  if (!kind) return [...otherWeights(model, index, message), ...inSubgraphs];
  const [input, weightName] = message.input;
  if (!input || !weightName || message.output.length !== 1)
    return [keptNode(message, 'it does not have the inputs and outputs of its operator')];
  const weight = findConstant(model, index, weightName);
  if (typeof weight === 'string') {
    // A product of two activations has no weights.
    if (kind !== 'conv' && !index.constants.has(weightName)) {
      const left = findConstant(model, index, input);
      return typeof left === 'string'
        ? []
        : [keptNode(message, 'its weight is the left operand', elementCount(left.shape))];
    }
    return [keptNode(message, `its weight ${weight}`)];
  }
  const keep = (reason: string, channels?: number) => [keptNode(message, reason, elementCount(weight.shape), channels)];
  if (index.constants.has(input)) return keep('its input is constant, runtimes compute it when they load the model');
  const shaped = kind === 'conv' ? asConvolution(node, weight) : asProduct(node, kind, weight);
  if (typeof shaped === 'string') return keep(shaped);
  const { rows, columns, groups } = shaped;
  if (rows / groups < 2 || columns < 2) {
    return keep(
      groups > 1 && rows === groups
        ? `depthwise: each channel has a filter of its own, 1 x ${columns}`
        : `a ${rows / groups} x ${columns} matrix has no two factors that are smaller`,
      rows,
    );
  }
  return shaped;
}

function asConvolution(node: OnnxNode, weight: FloatConstant): Candidate | string {
  const { shape } = weight;
  const found = convolutionGeometry(node.message, shape);
  if (typeof found === 'string') return found;
  const [rows] = shape as [number];
  return { node, kind: 'conv', weight, transposed: false, rows, columns: elementCount(shape.slice(1)), ...found };
}

function asProduct(node: OnnxNode, kind: LayerKind, weight: FloatConstant): Candidate | string {
  const { shape } = weight;
  if (shape.length !== 2) return `its weight has ${shape.length} dimensions`;
  const transposed = kind === 'matmul' || integerAttribute(node.message, 'transB', 0) === 0;
  const [rows, columns] = (transposed ? [shape[1], shape[0]] : shape) as [number, number];
  return { node, kind, weight, transposed, rows, columns, groups: 1, geometry: undefined };
}

/** Why the weight of these nodes cannot be exchanged for another, undefined if it can. */
function conflict(index: GraphIndex, group: readonly Candidate[]): string | undefined {
  const [first] = group as [Candidate];
  const nodes = new Set(group.map(({ node }) => node));
  // The stored tensor, then what Identity and Cast nodes make of it: the set grows while it is walked.
  const names = new Set([first.weight.name]);
  for (const name of names) {
    if (index.outputs.has(name)) return `its weight ${name} is an output of the graph`;
    if (index.subgraphNames.has(name)) return `its weight ${name} is read inside of a subgraph too`;
    for (const { node, position } of index.uses.get(name) ?? []) {
      const { message } = node;
      if (nodes.has(node) && position === 1) continue;
      if (!isStandard(message) || (message.opType !== 'Identity' && message.opType !== 'Cast'))
        return `its weight is read by ${nameOf(message)} (${message.opType}) too`;
      if (message.output[0]) names.add(message.output[0]);
    }
  }
  // alpha is part of the linear map that is fitted once for all uses; beta is not: each use gets a bias of its own.
  const signature = ({ kind, transposed, groups, weight, node }: Candidate) =>
    `${kind} ${transposed} ${groups} ${weight.type} ${floatAttribute(node.message, 'alpha', 1)}`;
  const other = group.find((candidate) => signature(candidate) !== signature(first));
  return other && `it shares its weight with ${nameOf(other.node.message)}, which uses it differently`;
}

function layerOf(model: OnnxModel, index: GraphIndex, group: readonly Candidate[]): CnnLayer {
  const [first] = group as [Candidate];
  const { kind, weight, transposed, rows, columns, groups } = first;
  const uses = group.map(({ node, geometry }): LayerUse => {
    const [input] = node.message.input as [string];
    const [output] = node.message.output as [string];
    const next = onlyReader(index, output);
    const batchNormalization =
      next && next.message.input[0] === output ? batchNormalizationOf(model, index, next) : undefined;
    const bias = findBias(model, index, node, kind, rows);
    return { node, name: nameOf(node.message), input, output, geometry, bias, batchNormalization };
  });
  return { name: (uses[0] as LayerUse).name, kind, weight, transposed, rows, columns, groups, uses };
}

/** Constant matrices that an operator reads which is none of ours: transposed convolutions, recurrent cells, tables. */
function otherWeights(model: OnnxModel, index: GraphIndex, node: NodeProto): KeptLayer[] {
  if (node.output.every((name) => index.constants.has(name))) return [];
  let parameters = 0;
  for (const name of node.input) {
    const constant = findConstant(model, index, name);
    const shape = typeof constant === 'string' ? [] : constant.shape;
    // Vectors (scales, biases) are no weights to be factorised, whatever dimensions of 1 they have.
    if (shape.filter((dimension) => dimension > 1).length > 1) parameters += elementCount(shape);
  }
  if (parameters === 0) return [];
  const reason =
    node.opType === 'ConvTranspose' ? 'transposed convolutions are not rewritten' : `${node.opType} is not rewritten`;
  return [keptNode(node, reason, parameters)];
}

function weightsInside(graph: GraphProto, owner: string): KeptLayer[] {
  return graph.node.flatMap((node) => [
    ...(isStandard(node) && (kinds[node.opType] || node.opType === 'ConvTranspose')
      ? [keptNode(node, `inside of a subgraph of ${owner}`)]
      : []),
    ...subgraphsOf(node).flatMap((inner) => weightsInside(inner, owner)),
  ]);
}

function keptNode(node: NodeProto, reason: string, parameters = 0, channels?: number): KeptLayer {
  return { name: nameOf(node), opType: node.opType, output: node.output[0] ?? '', channels, parameters, reason };
}

function nameOf(node: NodeProto): string {
  return node.name || node.output[0] || node.opType;
}
