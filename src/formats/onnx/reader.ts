import { dirname } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { DoubleSparseError } from '../../errors.js';
import { PositionalFile } from '../positional-file.js';
import { malformed, unsupported } from './errors.js';
import { ExternalFiles } from './external-data.js';
import { type OnnxInitializer, OnnxModel, type OnnxNode, subgraphsOf, type TensorInfo } from './model.js';
import {
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  SparseTensorProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from './proto/onnx_pb.js';
import { isExternal } from './tensor.js';
import { checkFieldCount, splitMessage, type WireField } from './wire.js';

/** A protobuf message has at most 2^31 - 1 bytes. */
export const maximumModelBytes = 2 ** 31 - 1;
/** A node has about 25, attributes included, large networks some ten thousand nodes. Decoded they take about 0.6 GB. */
const maximumFields = 1_000_000;

export const modelFields = ModelProtoSchema.field;
export const graphFields = GraphProtoSchema.field;

/**
 * Reads a model file into memory; external data only when asked for.
 * @throws DoubleSparseError `file-unreadable`, `file-malformed`, `file-unsupported` (more than 2 GB in one file, external
 *   data in attributes)
 */
export function openOnnx(path: string): OnnxModel {
  const file = new PositionalFile(path);
  try {
    if (file.size > maximumModelBytes) {
      throw unsupported(
        path,
        `it has ${file.size} bytes, an ONNX file has at most ${maximumModelBytes}`,
        'larger models cannot be run: store weights in half precision, or cut the model into parts',
      );
    }
    const bytes = new Uint8Array(file.size);
    file.readFully(bytes, 0);
    return parseOnnx(bytes, path);
  } finally {
    file.close();
  }
}

/**
 * A model from its bytes, which must not change afterwards.
 * @param path where it comes from: for messages, and its folder for external data.
 * @throws DoubleSparseError `file-malformed`, `file-unsupported`
 */
export function parseOnnx(bytes: Uint8Array, path: string): OnnxModel {
  try {
    return parse(bytes, path);
  } catch (error) {
    if (error instanceof DoubleSparseError) throw error;
    // What the protobuf decoder throws: an end too early, a wrong tag, nesting too deep.
    throw malformed(path, `not an ONNX model (${(error as Error).message})`, error);
  }
}

function parse(bytes: Uint8Array, path: string): OnnxModel {
  checkFieldCount(ModelProtoSchema, bytes, maximumFields);
  const fields = splitMessage(bytes);
  const graphs = fields.filter(({ number }) => number === modelFields.graph.number);
  const graph = graphs[0]?.content;
  if (graphs.length !== 1 || !graph) throw malformed(path, `not an ONNX model (it has ${graphs.length} graphs)`);
  const modelRest = fields.filter(({ number }) => number !== modelFields.graph.number);
  const model = fromBinary(ModelProtoSchema, Buffer.concat(modelRest.map((field) => field.bytes)));
  for (const { node } of model.functions) for (const each of node) checkNode(each, path);

  const nodes: OnnxNode[] = [];
  const initializers = new Map<string, OnnxInitializer>();
  const infos = new Map<number, TensorInfo[]>(
    [graphFields.input, graphFields.output, graphFields.valueInfo].map(({ number }) => [number, []]),
  );
  const sparseInitializers = new Set<string>();
  const graphRest: WireField[] = [];
  for (const field of splitMessage(graph)) {
    const { number, content } = field;
    if (number === graphFields.node.number && content) nodes.push(readNode(content, path));
    else if (number === graphFields.initializer.number && content) {
      const message = fromBinary(TensorProtoSchema, content);
      if (initializers.has(message.name)) throw malformed(path, `two initializers named ${message.name}`);
      initializers.set(message.name, { message, bytes: content });
    } else if (infos.has(number) && content) {
      infos.get(number)?.push({ message: fromBinary(ValueInfoProtoSchema, content), bytes: field.bytes });
    } else {
      if (number === graphFields.sparseInitializer.number && content)
        sparseInitializers.add(fromBinary(SparseTensorProtoSchema, content).values?.name ?? '');
      graphRest.push(field);
    }
  }
  const list = ({ number }: { number: number }) => infos.get(number) ?? [];
  return new OnnxModel({
    path,
    irVersion: Number(model.irVersion),
    opset: opsetOf(model, path),
    nodes,
    initializers,
    inputs: list(graphFields.input),
    outputs: list(graphFields.output),
    valueInfo: list(graphFields.valueInfo),
    sparseInitializers,
    graphRest,
    modelRest,
    external: new ExternalFiles(dirname(path)),
  });
}

function readNode(content: Uint8Array, path: string): OnnxNode {
  const message = fromBinary(NodeProtoSchema, content);
  // Invalid UTF-8 decodes to U+FFFD, and would be encoded as another name.
  if ([...message.input, ...message.output].some((name) => name.includes('\ufffd')))
    throw malformed(path, `the names of the tensors of node ${message.name} (${message.opType}) are not UTF-8`);
  checkNode(message, path);
  return { message, bytes: content };
}

function opsetOf({ opsetImport }: ModelProto, path: string): number {
  const found = opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx');
  if (!found) throw malformed(path, 'it does not say which version of the ONNX operators it uses');
  return Number(found.version);
}

/** Tensors inside nodes are written as they are, so that their data must not lie elsewhere. */
function checkNode(node: NodeProto, path: string): void {
  const graphs = subgraphsOf(node);
  const tensors = node.attribute.flatMap(({ t, tensors: list }) => (t ? [t, ...list] : list));
  if ([...tensors, ...graphs.flatMap((graph: GraphProto) => graph.initializer)].some(isExternal)) {
    throw unsupported(
      path,
      `node ${node.name || node.output[0]} (${node.opType}) has external data in an attribute`,
      'load the model with the onnx package and save it in one file',
    );
  }
  for (const graph of graphs) for (const inner of graph.node) checkNode(inner, path);
}
