import { create, toBinary } from '@bufbuild/protobuf';
import { makeAttribute } from '../../src/formats/onnx/node.js';
import { ModelProtoSchema, TensorProto_DataType as Type } from '../../src/formats/onnx/proto/onnx_pb.js';
import { valueInfo } from '../formats/onnx/build-model.js';

/** Element types of onnx.proto. */
export const onnxTypes = {
  float: Type.FLOAT,
  int64: Type.INT64,
  string: Type.STRING,
  bool: Type.BOOL,
  float16: Type.FLOAT16,
  double: Type.DOUBLE,
} as const;
type OnnxType = keyof typeof onnxTypes;

export interface OneNode {
  operator: string;
  domain?: string;
  operatorSet?: number;
  from: OnnxType;
  to: OnnxType;
  dims: readonly (number | string)[];
  /** Of Cast. */
  castTo?: number;
}

/** An ONNX model of one node, x -> y, of one shape. */
export function oneNodeModel({ operator, domain = '', operatorSet = 13, from, to, dims, castTo }: OneNode): Uint8Array {
  const attribute = castTo === undefined ? [] : [makeAttribute('to', castTo)];
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [...new Set(['', domain])].map((each) => ({ domain: each, version: BigInt(operatorSet) })),
    graph: {
      name: 'graph',
      node: [{ opType: operator, domain, input: ['x'], output: ['y'], attribute }],
      input: [valueInfo('x', onnxTypes[from], dims)],
      output: [valueInfo('y', onnxTypes[to], dims)],
    },
  });
  return toBinary(ModelProtoSchema, model);
}
