import { type OnnxModel, subgraphsOf } from '../../formats/onnx/model.js';
import type { GraphProto } from '../../formats/onnx/proto/onnx_pb.js';

/** Nodes that only pass a constant on. */
const passing: ReadonlySet<string> = new Set(['Constant', 'Identity', 'Cast']);

/**
 * Removes those of the named tensors that nothing reads any more, with the nodes that make them and what only those
 * read. Everything else stays, even if unused.
 */
export function removeUnused(model: OnnxModel, names: readonly string[]): OnnxModel {
  const reads = new Map<string, number>();
  const count = (name: string, change: number) => reads.set(name, (reads.get(name) ?? 0) + change);
  const countGraph = (graph: GraphProto): void => {
    // A subgraph may return a tensor from outside.
    for (const { name } of graph.output) count(name, 1);
    for (const node of graph.node) {
      for (const name of node.input) count(name, 1);
      for (const inner of subgraphsOf(node)) countGraph(inner);
    }
  };
  for (const { message } of model.outputs) count(message.name, 1);
  const producers = new Map(model.nodes.flatMap((node) => node.message.output.map((name) => [name, node])));
  for (const { message } of model.nodes) {
    for (const name of message.input) count(name, 1);
    for (const graph of subgraphsOf(message)) countGraph(graph);
  }
  const initializers = new Map(model.initializers);
  const removedNodes = new Set<object>();
  const removed = new Set<string>();
  const waiting = [...names];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (removed.has(name) || (reads.get(name) ?? 0) > 0) continue;
    const node = producers.get(name);
    if (node ? !passing.has(node.message.opType) : !initializers.delete(name)) continue;
    removed.add(name);
    if (!node) continue;
    removedNodes.add(node);
    for (const input of node.message.input) {
      count(input, -1);
      waiting.push(input);
    }
  }
  return model.edited({ nodes: model.nodes.filter((node) => !removedNodes.has(node)), initializers, removed });
}
