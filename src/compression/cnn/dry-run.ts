import { statSync } from 'node:fs';
import { bytesPerFloat } from '../../formats/dtype.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { isExternal, rawTensorSize } from '../../formats/onnx/tensor.js';
import type { KeptLayer, LayerKind } from '../../models/cnn/layer.js';
import { uniformBudgets } from './budgets.js';
import type { CnnCompressOptions } from './options.js';
import { type PlannedLayer, planCnn } from './planned-layer.js';

/** Bytes of the nodes that unpack a weight. */
const unpackingBytes = 700;

export interface DryRunLayer {
  readonly name: string;
  readonly kind: LayerKind;
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  readonly entries: number;
  /** With the same sparsity for all layers. */
  readonly nonzeros: number;
}

/** What a compression would make, before anything is computed. */
export interface CnnDryRun {
  readonly layers: readonly DryRunLayer[];
  readonly kept: readonly KeptLayer[];
  readonly entries: number;
  readonly nonzeros: number;
  /** Of the model as it is. */
  readonly denseBytes: number;
  /** About those of the new file: with one matrix a layer, and with two. */
  readonly bytes: { readonly single: number; readonly factors: number };
}

/** @throws DoubleSparseError of {@link planCnn} */
export function cnnDryRun(model: OnnxModel, options: CnnCompressOptions): CnnDryRun {
  const { layers, kept, entries } = planCnn(model, options);
  const budgets = uniformBudgets(layers, options.sparsity);
  const planned = layers.map((each) => {
    const { name, kind, rows, columns, groups } = each.layer;
    return { name, kind, rows, columns, groups, entries: each.entries, nonzeros: budgets.get(each) ?? 0 };
  });
  const external = [...model.initializers.values()].filter(({ message }) => isExternal(message));
  const denseBytes = external.reduce(
    (sum, { message }) => sum + (rawTensorSize(message, model) ?? 0),
    statSync(model.path).size,
  );
  const predicted = (matrices: 1 | 2): number =>
    layers.reduce((sum, each) => {
      const { weight } = each.layer;
      const saved =
        each.entries * bytesPerFloat(weight.type) - storedBytes(each, budgets.get(each) ?? 0, matrices, options);
      return sum - saved;
    }, denseBytes);
  return {
    layers: planned,
    kept,
    entries,
    nonzeros: planned.reduce((sum, { nonzeros }) => sum + nonzeros, 0),
    denseBytes,
    bytes: { single: predicted(1), factors: predicted(2) },
  };
}

/** Nonzeros and bitmask, or zeros and all where that is smaller. */
function storedBytes(
  { layer: { rows, columns, groups, weight }, entries }: PlannedLayer,
  nonzeros: number,
  matrices: 1 | 2,
  { format }: CnnCompressOptions,
): number {
  const inner = Math.min(rows / groups, columns);
  const positions = matrices === 1 ? entries : inner * (rows + groups * columns);
  const size = bytesPerFloat(weight.type);
  const packed = nonzeros * size + Math.ceil(positions / 8) + matrices * unpackingBytes;
  return format === 'plain' ? positions * size : Math.min(packed, positions * size);
}
