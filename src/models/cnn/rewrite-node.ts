import { clone } from '@bufbuild/protobuf';
import { makeAttribute, makeNode } from '../../formats/onnx/node.js';
import { type NodeProto, NodeProtoSchema } from '../../formats/onnx/proto/onnx_pb.js';
import type { GraphAdditions } from './additions.js';
import type { CnnLayer, LayerUse } from './layer.js';

/** Before that, Gemm needs a third input. */
const firstOptionalBias = 11;

/**
 * The nodes that take the place of a layer's node and make the same output.
 * @param weights names of the new weights: none (the present one stays), W, or B and A.
 * @param bias name of the new bias, undefined if the present one stays.
 */
export function chainNodes(
  layer: CnnLayer,
  use: LayerUse,
  weights: readonly string[],
  bias: string | undefined,
  additions: GraphAdditions,
  opset: number,
): NodeProto[] {
  const last = clone(NodeProtoSchema, use.node.message);
  const nodes = [last];
  const [first, second] = weights;
  if (second !== undefined) {
    const between = additions.name(`${use.name}/B.output`);
    nodes.unshift(firstNode(layer, use, first as string, between, additions, opset));
    last.name = additions.name(`${use.name}/A`);
    last.input[0] = between;
    last.input[1] = second;
    last.attribute = secondAttributes(layer, last);
  } else if (first !== undefined) last.input[1] = first;
  if (bias === undefined) return nodes;
  if (layer.kind === 'matmul') {
    const product = additions.name(`${use.name}/product`);
    last.output[0] = product;
    const name = additions.name(`${use.name}/Add`);
    return [...nodes, makeNode({ opType: 'Add', name, input: [product, bias], output: [use.output] })];
  }
  last.input[2] = bias;
  last.attribute = last.attribute.filter(({ name }) => name !== 'beta');
  return nodes;
}

/** B: all that the node did to positions, without a bias. */
function firstNode(
  { kind, weight }: CnnLayer,
  { node: { message }, name, input }: LayerUse,
  weightName: string,
  output: string,
  additions: GraphAdditions,
  opset: number,
): NodeProto {
  const result = clone(NodeProtoSchema, message);
  result.name = additions.name(`${name}/B`);
  result.input = [input, weightName];
  result.output = [output];
  if (kind === 'gemm') {
    result.attribute = result.attribute.filter(
      (attribute) => attribute.name === 'transA' || attribute.name === 'transB',
    );
    if (opset < firstOptionalBias)
      result.input.push(additions.addFloats(`${name}/B.bias`, weight.type, [1], new Float32Array(1)));
  }
  return result;
}

/** A: a convolution with a kernel of one position; a product with the factors alpha and beta of the whole. */
function secondAttributes({ kind }: CnnLayer, { attribute }: NodeProto): NodeProto['attribute'] {
  if (kind !== 'conv') return attribute.filter(({ name }) => name !== 'transA');
  return attribute
    .filter(({ name }) => name === 'group' || name === 'kernel_shape')
    .map((each) =>
      each.name === 'group'
        ? each
        : makeAttribute(
            'kernel_shape',
            each.ints.map(() => 1),
          ),
    );
}
