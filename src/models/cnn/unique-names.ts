import { type OnnxModel, subgraphsOf } from '../../formats/onnx/model.js';
import type { NodeProto } from '../../formats/onnx/proto/onnx_pb.js';

/** Gives names that nothing in a model has: nodes and tensors share one set, subgraphs included. */
export class UniqueNames {
  readonly #taken = new Set<string>();

  constructor(model: OnnxModel) {
    for (const name of [...model.initializers.keys(), ...model.sparseInitializers]) this.#taken.add(name);
    for (const { message } of [...model.inputs, ...model.outputs, ...model.valueInfo]) this.#taken.add(message.name);
    for (const { message } of model.nodes) this.#collect(message);
  }

  /** `wanted`, or that with the first number behind it that makes it new. The name is taken from then on. */
  take(wanted: string): string {
    let name = wanted;
    for (let count = 2; this.#taken.has(name); count++) name = `${wanted}.${count}`;
    this.#taken.add(name);
    return name;
  }

  #collect(node: NodeProto): void {
    for (const name of [node.name, ...node.input, ...node.output]) this.#taken.add(name);
    for (const graph of subgraphsOf(node)) {
      for (const { name } of [...graph.input, ...graph.output, ...graph.initializer]) this.#taken.add(name);
      for (const inner of graph.node) this.#collect(inner);
    }
  }
}
