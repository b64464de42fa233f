import { create, toBinary } from '@bufbuild/protobuf';
import type { OnnxInitializer, OnnxModel } from './model.js';
import { NodeProtoSchema, type TensorProto, TensorProtoSchema } from './proto/onnx_pb.js';
import { graphFields, modelFields } from './reader.js';
import { isExternal, rawTensorBytes, rawTensorSize } from './tensor.js';
import { fieldHeader } from './wire.js';

/** The bytes of a message, in pieces that are made when they are asked for; its size is known before. */
export interface Encoding {
  readonly size: number;
  readonly chunks: () => Iterable<Uint8Array>;
}

/** A message with its initializers as given; fields in the order of their numbers, as every producer writes them. */
export function encodeModel(model: OnnxModel, initializers: readonly Encoding[]): Encoding {
  const graph = inOrder([
    ...model.nodes.map(({ message, bytes }): Numbered => {
      const { number } = graphFields.node;
      return [number, field(number, ready(bytes ?? toBinary(NodeProtoSchema, message)))];
    }),
    ...initializers.map((initializer): Numbered => {
      const { number } = graphFields.initializer;
      return [number, field(number, initializer)];
    }),
    ...model.inputs.map(({ bytes }): Numbered => [graphFields.input.number, ready(bytes)]),
    ...model.outputs.map(({ bytes }): Numbered => [graphFields.output.number, ready(bytes)]),
    ...model.valueInfo.map(({ bytes }): Numbered => [graphFields.valueInfo.number, ready(bytes)]),
    ...model.graphRest.map(({ number, bytes }): Numbered => [number, ready(bytes)]),
  ]);
  const { number } = modelFields.graph;
  return inOrder([
    [number, field(number, graph)],
    ...model.modelRest.map(({ number: other, bytes }): Numbered => [other, ready(bytes)]),
  ]);
}

/** An initializer with its data inside the model. */
export function inlineEncoding(initializer: OnnxInitializer, model: OnnxModel): Encoding {
  const { message, bytes } = initializer;
  if (bytes && !isExternal(message)) return ready(bytes);
  const size = rawTensorSize(message, model);
  // Typed fields have no raw size; only tensors that are not from a file get here without one.
  if (size === undefined) return ready(toBinary(TensorProtoSchema, message));
  const head = ready(toBinary(TensorProtoSchema, withoutData(message)));
  const header = fieldHeader(TensorProtoSchema.field.rawData.number, size);
  return {
    size: head.size + header.byteLength + size,
    *chunks() {
      yield* head.chunks();
      yield header;
      yield rawTensorBytes(message, model) ?? new Uint8Array(0);
    },
  };
}

/** A tensor's name, type and shape, its comments and unknown fields. */
function withoutData({ name, dataType, dims, docString, metadataProps, $unknown }: TensorProto): TensorProto {
  const head = create(TensorProtoSchema, { name, dataType, dims, metadataProps, ...(docString && { docString }) });
  if ($unknown) head.$unknown = $unknown;
  return head;
}

type Numbered = readonly [number: number, encoding: Encoding];

function inOrder(parts: readonly Numbered[]): Encoding {
  const sorted = [...parts].sort(([a], [b]) => a - b).map(([, encoding]) => encoding);
  return {
    size: sorted.reduce((sum, { size }) => sum + size, 0),
    *chunks() {
      for (const { chunks } of sorted) yield* chunks();
    },
  };
}

function field(number: number, { size, chunks }: Encoding): Encoding {
  const header = fieldHeader(number, size);
  return {
    size: header.byteLength + size,
    *chunks() {
      yield header;
      yield* chunks();
    },
  };
}

function ready(bytes: Uint8Array): Encoding {
  return { size: bytes.byteLength, chunks: () => [bytes] };
}
