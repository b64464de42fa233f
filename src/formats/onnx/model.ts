import { create, toBinary } from '@bufbuild/protobuf';
import type { ExternalFiles } from './external-data.js';
import {
  type GraphProto,
  GraphProtoSchema,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './proto/onnx_pb.js';
import { readFloatTensor } from './tensor.js';
import type { WireField } from './wire.js';

/** A part of a graph: decoded, and as it lies in the file (undefined if it was made here). */
export interface Part<Message> {
  readonly message: Message;
  readonly bytes: Uint8Array | undefined;
}

export type OnnxNode = Part<NodeProto>;
export type OnnxInitializer = Part<TensorProto>;

/** A part that is not from a file. */
export function newPart<Message>(message: Message): Part<Message> {
  return { message, bytes: undefined };
}

/** The description of an input, an output or another tensor of the graph, and the field that holds it. */
export interface TensorInfo extends Part<ValueInfoProto> {
  readonly bytes: Uint8Array;
}

export type OnnxParts = Omit<OnnxModel, 'edited' | 'withOutputs' | 'readFloats' | 'close'>;

/** What differs from the model that an edited one is made from. */
export interface OnnxEdit {
  readonly nodes?: readonly OnnxNode[];
  readonly initializers?: ReadonlyMap<string, OnnxInitializer>;
  readonly outputs?: readonly TensorInfo[];
  /** Names of tensors that are no longer there: their descriptions go too. */
  readonly removed?: ReadonlySet<string>;
}

/**
 * An ONNX model that is never changed, only edited into another one. Nodes, tensors and other fields that an edit does
 * not name keep their bytes, unknown fields among them: nothing is encoded again.
 */
export class OnnxModel {
  /** The file it comes from. */
  readonly path: string;
  /** Version of the intermediate representation. */
  readonly irVersion: number;
  /** Version of the default operator set. */
  readonly opset: number;
  /** In the order of the file, which is one of execution. */
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, OnnxInitializer>;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /** Types and shapes that the file tells of tensors inside the graph. */
  readonly valueInfo: readonly TensorInfo[];
  /** Names of initializers in sparse form, which are left alone. */
  readonly sparseInitializers: ReadonlySet<string>;
  /** All other fields of the graph. */
  readonly graphRest: readonly WireField[];
  /** All fields of the model but its graph. */
  readonly modelRest: readonly WireField[];
  readonly external: ExternalFiles;

  constructor(parts: OnnxParts) {
    this.path = parts.path;
    this.irVersion = parts.irVersion;
    this.opset = parts.opset;
    this.nodes = parts.nodes;
    this.initializers = parts.initializers;
    this.inputs = parts.inputs;
    this.outputs = parts.outputs;
    this.valueInfo = parts.valueInfo;
    this.sparseInitializers = parts.sparseInitializers;
    this.graphRest = parts.graphRest;
    this.modelRest = parts.modelRest;
    this.external = parts.external;
  }

  /** The model with parts exchanged. Both read external data through the same files, which either may close. */
  edited({ nodes, initializers, outputs, removed = new Set() }: OnnxEdit): OnnxModel {
    const kept = (infos: readonly TensorInfo[]) => infos.filter(({ message }) => !removed.has(message.name));
    return new OnnxModel({
      ...this,
      nodes: nodes ?? this.nodes,
      initializers: initializers ?? this.initializers,
      inputs: kept(this.inputs),
      outputs: outputs ?? this.outputs,
      valueInfo: kept(this.valueInfo),
    });
  }

  /** The model with further tensors as outputs of the graph, to look at them. Their types are left to be inferred. */
  withOutputs(names: readonly string[]): OnnxModel {
    const present = new Set(this.outputs.map(({ message }) => message.name));
    const added = [...new Set(names)]
      .filter((name) => !present.has(name))
      .map((name): TensorInfo => {
        const message = create(ValueInfoProtoSchema, { name });
        // The encoding of a graph with this one field is that of the field.
        return { message, bytes: toBinary(GraphProtoSchema, create(GraphProtoSchema, { output: [message] })) };
      });
    return new OnnxModel({ ...this, outputs: [...this.outputs, ...added] });
  }

  /** Values of a float tensor of this model, see {@link readFloatTensor}. */
  readFloats(tensor: TensorProto): Float32Array {
    return readFloatTensor(tensor, this);
  }

  close(): void {
    this.external.close();
  }
}

/** Graphs that a node carries as attributes (If, Loop, Scan), without those inside them. */
export function subgraphsOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs));
}
