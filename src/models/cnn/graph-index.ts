import { type OnnxModel, type OnnxNode, subgraphsOf } from '../../formats/onnx/model.js';
import type { GraphProto } from '../../formats/onnx/proto/onnx_pb.js';

/** A place where a node reads a tensor. */
export interface TensorUse {
  readonly node: OnnxNode;
  /** Index among the node's inputs. */
  readonly position: number;
}

/** Who makes and who reads the tensors of a graph. */
export interface GraphIndex {
  readonly producers: ReadonlyMap<string, OnnxNode>;
  readonly uses: ReadonlyMap<string, readonly TensorUse[]>;
  /** Names of graph inputs, and of graph outputs. */
  readonly inputs: ReadonlySet<string>;
  readonly outputs: ReadonlySet<string>;
  /** Every name that a subgraph (If, Loop, Scan) reads or makes: one of them may be a tensor of the graph itself. */
  readonly subgraphNames: ReadonlySet<string>;
  /** Tensors that depend on no input of the graph. */
  readonly constants: ReadonlySet<string>;
}

export function indexGraph(model: OnnxModel): GraphIndex {
  const producers = new Map<string, OnnxNode>();
  const uses = new Map<string, TensorUse[]>();
  const subgraphNames = new Set<string>();
  const inputs = new Set(model.inputs.map(({ message }) => message.name));
  const constants = new Set([...model.initializers.keys()].filter((name) => isFixed(model, inputs, name)));
  for (const node of model.nodes) {
    const { message } = node;
    for (const [position, name] of message.input.entries()) {
      const list = uses.get(name);
      if (list) list.push({ node, position });
      else uses.set(name, [{ node, position }]);
    }
    for (const name of message.output) producers.set(name, node);
    const subgraphs = subgraphsOf(message);
    for (const graph of subgraphs) collectNames(graph, subgraphNames);
    const fixed = subgraphs.length === 0 && message.input.every((name) => name === '' || constants.has(name));
    if (fixed && !message.opType.startsWith('Random')) for (const name of message.output) constants.add(name);
  }
  const outputs = new Set(model.outputs.map(({ message }) => message.name));
  return { producers, uses, inputs, outputs, subgraphNames, constants };
}

/**
 * Can no caller replace this initializer? Since version 4 of the representation one that is a graph input too is only a
 * default value; before that every initializer had to be an input.
 */
export function isFixed({ irVersion }: OnnxModel, inputs: ReadonlySet<string>, initializer: string): boolean {
  return irVersion < 4 || !inputs.has(initializer);
}

function collectNames(graph: GraphProto, names: Set<string>): void {
  for (const { name } of [...graph.input, ...graph.output, ...graph.initializer]) names.add(name);
  for (const node of graph.node) {
    for (const name of [...node.input, ...node.output]) names.add(name);
    for (const inner of subgraphsOf(node)) collectNames(inner, names);
  }
}
