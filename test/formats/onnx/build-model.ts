import { create, toBinary } from '@bufbuild/protobuf';
import { makeNode, type NodeDescription } from '../../../src/formats/onnx/node.js';
import {
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from '../../../src/formats/onnx/proto/onnx_pb.js';

/** ONNX element types that the tests use. */
export const elementTypes = { float: 1, half: 10, double: 11 } as const;
type ElementType = keyof typeof elementTypes;

export interface GraphDescription {
  readonly nodes: readonly (NodeDescription | NodeProto)[];
  readonly initializers?: readonly TensorProto[];
  /** Name to shape. A dimension given as a word is free. */
  readonly inputs: Readonly<Record<string, readonly (number | string)[]>>;
  readonly outputs: readonly string[];
  readonly elementType?: ElementType;
}

export interface ModelDescription extends GraphDescription {
  /** Default 17. */
  readonly opset?: number;
  /** Default 8. */
  readonly irVersion?: number;
}

export function buildGraph(description: GraphDescription): GraphProto {
  const { nodes, initializers = [], inputs, outputs, elementType = 'float' } = description;
  const elemType = elementTypes[elementType];
  return create(GraphProtoSchema, {
    name: 'graph',
    node: nodes.map((node) => ('$typeName' in node ? node : makeNode(node))),
    initializer: [...initializers],
    input: Object.entries(inputs).map(([name, shape]) => valueInfo(name, elemType, shape)),
    output: outputs.map((name) => create(ValueInfoProtoSchema, { name })),
  });
}

/** The bytes of a model with one graph. */
export function buildModel({ opset = 17, irVersion = 8, ...graph }: ModelDescription): Uint8Array {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: BigInt(irVersion),
      producerName: 'test',
      opsetImport: [{ domain: '', version: BigInt(opset) }],
      graph: buildGraph(graph),
    }),
  );
}

/** The description of a tensor. @param elemType see {@link TensorProto_DataType}. */
export function valueInfo(name: string, elemType: number, shape: readonly (number | string)[]): ValueInfoProto {
  const dim = shape.map((size) => ({
    value:
      typeof size === 'number'
        ? ({ case: 'dimValue', value: BigInt(size) } as const)
        : ({ case: 'dimParam', value: size } as const),
  }));
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType, shape: { dim } } } },
  });
}
