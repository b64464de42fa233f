import { clone } from '@bufbuild/protobuf';
import { DoubleSparseError } from '../../errors.js';
import { newPart, type OnnxModel, type OnnxNode } from '../../formats/onnx/model.js';
import { type NodeProto, NodeProtoSchema } from '../../formats/onnx/proto/onnx_pb.js';
import type { Matrix } from '../../linalg/matrix.js';
import { GraphAdditions, type StoredWeight, type WeightFormat } from './additions.js';
import type { BatchNormalization, CnnLayer, LayerUse } from './layer.js';
import { removeUnused } from './remove-unused.js';
import { chainNodes } from './rewrite-node.js';
import { factorShapes, inLayout } from './weight-layout.js';

/** What a layer gets instead of its weight W. */
export type LayerWeight =
  /** A single matrix of W's shape: the same node with another weight. */
  | { readonly kind: 'dense'; readonly weight: Matrix }
  /** A B: A is rows x k, B is (k groups) x columns, B acts first; rows of both are stacked group by group. */
  | { readonly kind: 'factors'; readonly a: Matrix; readonly b: Matrix };

export interface LayerReplacement {
  /** Default: the weight stays. */
  readonly weight?: LayerWeight;
  /**
   * What each use adds to its output in all, one value an output channel, instead of what it added before; in the order
   * of `uses`, undefined where it stays.
   */
  readonly biases?: readonly (Float32Array | undefined)[];
}

/** New parameters of a BatchNormalization, one value a channel; what is absent stays. */
export type BatchNormalizationReplacement = Partial<
  Readonly<Record<'scale' | 'shift' | 'mean' | 'variance', Float32Array>>
>;

export interface Rewriting {
  /** By layers that {@link findLayers} found in the same model. */
  readonly layers?: ReadonlyMap<CnnLayer, LayerReplacement>;
  readonly batchNormalizations?: ReadonlyMap<BatchNormalization, BatchNormalizationReplacement>;
}

export interface RewriteOptions {
  /** Default packed. */
  readonly format?: WeightFormat;
}

/** A new weight: which one it is of which layer. */
export interface LayerStoredWeight extends StoredWeight {
  readonly layer: CnnLayer;
  readonly part: 'W' | 'A' | 'B';
}

/**
 * The model with layers replaced. Nodes and tensors that are not concerned keep their bytes; inputs and outputs of the
 * layers keep their names; what nothing reads any more goes.
 * @returns the new model and how its new weights are stored, in the order of `layers`.
 * @throws DoubleSparseError `shape-mismatch` for matrices and vectors that do not fit, `option-out-of-range` for the bias
 *   of a node whose present bias is not constant, `non-finite-value` for values that are infinite in the stored type.
 */
export function rewriteModel(
  model: OnnxModel,
  rewriting: Rewriting,
  options: RewriteOptions = {},
): { readonly model: OnnxModel; readonly weights: readonly LayerStoredWeight[] } {
  const additions = new GraphAdditions(model);
  const replaced = new Map<OnnxNode, readonly NodeProto[]>();
  const weights: LayerStoredWeight[] = [];
  for (const [layer, replacement] of rewriting.layers ?? []) {
    const stored = storeWeight(layer, replacement.weight, additions, options);
    weights.push(...stored);
    const names = stored.map(({ name }) => name);
    for (const [i, use] of layer.uses.entries()) {
      const bias = replacement.biases?.[i];
      if (names.length === 0 && !bias) continue;
      for (const [node, nodes] of rewriteUse(layer, use, names, bias, additions, model.opset))
        replaced.set(node, nodes);
    }
  }
  for (const [batchNormalization, replacement] of rewriting.batchNormalizations ?? [])
    replaced.set(batchNormalization.node, [rewriteBatchNormalization(batchNormalization, replacement, additions)]);
  const nodes = [
    ...additions.nodes.map(newPart),
    ...model.nodes.flatMap((node) => replaced.get(node)?.map(newPart) ?? [node]),
  ];
  const initializers = new Map(model.initializers);
  for (const tensor of additions.initializers) initializers.set(tensor.name, newPart(tensor));
  const touched = [...replaced.keys()].flatMap(({ message }) => message.input);
  return { model: removeUnused(model.edited({ nodes, initializers }), touched), weights };
}

/** Adds the new weights of a layer: none, W, or B and A in the order in which they act. */
function storeWeight(
  layer: CnnLayer,
  weight: LayerWeight | undefined,
  additions: GraphAdditions,
  { format = 'packed' }: RewriteOptions,
): LayerStoredWeight[] {
  if (!weight) return [];
  const { type, storedType } = layer.weight;
  const store = (part: 'W' | 'A' | 'B', matrix: Matrix, shape: readonly number[]): LayerStoredWeight => {
    const values = inLayout(layer, matrix);
    const name = `${layer.name}/${part}.weight`;
    const stored = additions.addWeight({ name, shape, values, type, storedType }, format);
    return { ...stored, layer, part };
  };
  if (weight.kind === 'dense') {
    check(layer, 'W', weight.weight, layer.rows, layer.columns);
    return [store('W', weight.weight, layer.weight.shape)];
  }
  const { a, b } = weight;
  check(layer, 'A', a, layer.rows, a.columns);
  check(layer, 'B', b, a.columns * layer.groups, layer.columns);
  const shapes = factorShapes(layer, a.columns);
  return [store('B', b, shapes.b), store('A', a, shapes.a)];
}

/** The nodes that take the place of a use, and of the Add behind it where that changes. */
function rewriteUse(
  layer: CnnLayer,
  use: LayerUse,
  weights: readonly string[],
  values: Float32Array | undefined,
  additions: GraphAdditions,
  opset: number,
): [OnnxNode, NodeProto[]][] {
  const bias = values && addBias(layer, use, values, additions);
  const behind = use.bias.kind === 'constant' && use.bias.node !== use.node ? use.bias.node : undefined;
  const result: [OnnxNode, NodeProto[]][] = [];
  if (behind && bias) {
    const add = clone(NodeProtoSchema, behind.message);
    add.input = add.input.map((name) => (name === use.output ? name : bias));
    result.push([behind, [add]]);
  }
  const own = behind ? undefined : bias;
  if (weights.length > 0 || own) result.push([use.node, chainNodes(layer, use, weights, own, additions, opset)]);
  return result;
}

/** Adds the tensor of a new bias. @returns its name. */
function addBias(
  { name, kind, rows, weight }: CnnLayer,
  use: LayerUse,
  values: Float32Array,
  additions: GraphAdditions,
): string {
  const { bias } = use;
  if (bias.kind === 'other') {
    throw new DoubleSparseError('option-out-of-range', `the bias of ${use.name} cannot be replaced: ${bias.reason}`, {
      data: { layer: name },
      hint: 'leave the bias of this layer as it is',
    });
  }
  checkVector(`the bias of ${use.name}`, values, rows);
  // Leading dimensions of 1 may raise the rank of the sum behind a product.
  const leading = bias.kind === 'constant' && kind !== 'conv' ? bias.constant.shape.slice(0, -1) : [];
  const type = bias.kind === 'constant' ? bias.constant.type : weight.type;
  return additions.addFloats(`${use.name}/bias`, type, [...leading, rows], values);
}

function rewriteBatchNormalization(
  batchNormalization: BatchNormalization,
  replacement: BatchNormalizationReplacement,
  additions: GraphAdditions,
): NodeProto {
  const { node, name, scale } = batchNormalization;
  const result = clone(NodeProtoSchema, node.message);
  for (const [i, part] of (['scale', 'shift', 'mean', 'variance'] as const).entries()) {
    const values = replacement[part];
    if (!values) continue;
    checkVector(`${part} of ${name}`, values, scale.shape[0] as number);
    result.input[i + 1] = additions.addFloats(`${name}/${part}`, batchNormalization[part].type, scale.shape, values);
  }
  return result;
}

function check(
  { name, groups }: CnnLayer,
  part: string,
  { rows, columns }: Matrix,
  wantedRows: number,
  wantedColumns: number,
): void {
  if (rows === wantedRows && columns === wantedColumns && columns > 0) return;
  throw new DoubleSparseError(
    'shape-mismatch',
    `${part} of ${name} is ${rows}x${columns}, ${wantedRows}x${wantedColumns} fits (${groups} groups)`,
    { data: { layer: name, part, rows, columns } },
  );
}

function checkVector(what: string, values: Float32Array, length: number): void {
  if (values.length === length) return;
  throw new DoubleSparseError('shape-mismatch', `${what} has ${values.length} values, not ${length}`, {
    data: { values: values.length, expected: length },
  });
}
