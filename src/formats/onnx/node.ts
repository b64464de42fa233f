import { create } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
} from './proto/onnx_pb.js';

export type AttributeValue = number | readonly number[] | string | TensorProto;

/** An integer, list of integers, string or tensor attribute; no float: none of the nodes we make has one. */
export function makeAttribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === 'number')
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(value) });
  if (typeof value === 'string')
    return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: Buffer.from(value) });
  if (isList(value)) return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map(BigInt) });
  return create(AttributeProtoSchema, { name, type: AttributeType.TENSOR, t: value });
}

function isList(value: AttributeValue): value is readonly number[] {
  return Array.isArray(value);
}

export interface NodeDescription {
  readonly opType: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly name?: string;
  readonly attributes?: Readonly<Record<string, AttributeValue>> | readonly AttributeProto[];
}

/** A node of the default operator set. */
export function makeNode({ opType, input, output, name, attributes = {} }: NodeDescription): NodeProto {
  const attribute = Array.isArray(attributes)
    ? (attributes as readonly AttributeProto[])
    : Object.entries(attributes).map(([key, value]) => makeAttribute(key, value as AttributeValue));
  return create(NodeProtoSchema, {
    opType,
    input: [...input],
    output: [...output],
    attribute: [...attribute],
    ...(name !== undefined && { name }),
  });
}

export function attributeOf(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((attribute) => attribute.name === name);
}

export function integerAttribute(node: NodeProto, name: string, absent: number): number {
  const attribute = attributeOf(node, name);
  return attribute ? Number(attribute.i) : absent;
}

export function integersAttribute(node: NodeProto, name: string): number[] | undefined {
  return attributeOf(node, name)?.ints.map(Number);
}

export function floatAttribute(node: NodeProto, name: string, absent: number): number {
  return attributeOf(node, name)?.f ?? absent;
}

export function stringAttribute(node: NodeProto, name: string, absent: string): string {
  const attribute = attributeOf(node, name);
  return attribute ? Buffer.from(attribute.s).toString() : absent;
}

/** Is it an operator of the standard ONNX set? */
export function isStandard(node: NodeProto): boolean {
  return node.domain === '' || node.domain === 'ai.onnx';
}
