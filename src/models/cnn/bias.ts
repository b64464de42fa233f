import type { OnnxModel, OnnxNode } from '../../formats/onnx/model.js';
import { floatAttribute, isStandard } from '../../formats/onnx/node.js';
import { findConstant } from './constants.js';
import type { GraphIndex } from './graph-index.js';
import type { LayerBias, LayerKind, LayerUse } from './layer.js';

/** What a node, or the Add behind a MatMul, adds to each output channel. @param rows output channels. */
export function findBias(
  model: OnnxModel,
  index: GraphIndex,
  node: OnnxNode,
  kind: LayerKind,
  rows: number,
): LayerBias {
  if (kind === 'matmul') return findAddedBias(model, index, node, rows);
  const name = node.message.input[2];
  if (!name) return { kind: 'none' };
  const constant = findConstant(model, index, name);
  if (typeof constant === 'string') return { kind: 'other', reason: `its bias ${constant}` };
  const factor = kind === 'gemm' ? floatAttribute(node.message, 'beta', 1) : 1;
  if (!isPerChannel(constant.shape, rows, kind === 'gemm'))
    return { kind: 'other', reason: `its bias has shape [${constant.shape}], not one value an output` };
  return { kind: 'constant', constant, factor, node };
}

function findAddedBias(model: OnnxModel, index: GraphIndex, node: OnnxNode, rows: number): LayerBias {
  const output = node.message.output[0] as string;
  const next = onlyReader(index, output);
  if (!next || !isStandard(next.message) || next.message.opType !== 'Add') return { kind: 'none' };
  const other = next.message.input.find((name) => name !== output);
  const constant = other === undefined ? 'is missing' : findConstant(model, index, other);
  if (typeof constant === 'string' || !isPerChannel(constant.shape, rows, true)) return { kind: 'none' };
  return { kind: 'constant', constant, factor: 1, node: next };
}

/** The values that a layer's use adds, one an output channel; undefined where there are none or they are not constant. */
export function readBias(model: OnnxModel, { bias }: LayerUse, rows: number): Float32Array | undefined {
  if (bias.kind !== 'constant') return undefined;
  const stored = model.readFloats(bias.constant.tensor);
  return Float32Array.from({ length: rows }, (_, i) => bias.factor * (stored[stored.length === 1 ? 0 : i] as number));
}

/** The node that alone reads a tensor, if it is only one and the tensor is seen nowhere else. */
export function onlyReader(index: GraphIndex, name: string): OnnxNode | undefined {
  if (index.outputs.has(name) || index.subgraphNames.has(name)) return undefined;
  const uses = index.uses.get(name);
  return uses?.length === 1 ? uses[0]?.node : undefined;
}

/** Is it a vector of `rows` values; with `broadcast` also one value, and either behind dimensions of 1? */
function isPerChannel(shape: readonly number[], rows: number, broadcast: boolean): boolean {
  if (!broadcast) return shape.length === 1 && shape[0] === rows;
  const last = shape.at(-1) ?? 1;
  return shape.slice(0, -1).every((dimension) => dimension === 1) && (last === rows || last === 1);
}
