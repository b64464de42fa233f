import { type OnnxModel, type OnnxNode, subgraphsOf } from '../../formats/onnx/model.js';
import type { NodeProto } from '../../formats/onnx/proto/onnx_pb.js';

/**
 * The part of a model that makes some of its tensors: these are its outputs, and nothing else is computed.
 * @param names of tensors; those that are inputs of the graph need nothing and cannot be outputs.
 */
export function partialModel(model: OnnxModel, names: readonly string[]): OnnxModel {
  const producers = new Map<string, OnnxNode>();
  for (const node of model.nodes) for (const name of node.message.output) producers.set(name, node);
  const needed = new Set<OnnxNode>();
  const waiting = [...names];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const node = producers.get(name);
    if (!node || needed.has(node)) continue;
    needed.add(node);
    waiting.push(...namesRead(node.message));
  }
  const wanted = new Set(names);
  const extended = model.withOutputs(names);
  return extended.edited({
    nodes: model.nodes.filter((node) => needed.has(node)),
    outputs: extended.outputs.filter(({ message }) => wanted.has(message.name)),
  });
}

/** Tensors that a node reads, those that only its subgraphs read among them. */
function namesRead(node: NodeProto): string[] {
  return [
    ...node.input,
    ...subgraphsOf(node).flatMap((graph) => [
      ...graph.node.flatMap(namesRead),
      ...graph.output.map(({ name }) => name),
    ]),
  ];
}
