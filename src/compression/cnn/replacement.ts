import type { OnnxModel } from '../../formats/onnx/model.js';
import { type Matrix, zeros } from '../../linalg/matrix.js';
import type { BatchNormalization, CnnLayer } from '../../models/cnn/layer.js';
import type {
  BatchNormalizationReplacement,
  LayerReplacement,
  LayerWeight,
  Rewriting,
} from '../../models/cnn/rewrite.js';
import { type PlannedLayer, scaledRows } from './planned-layer.js';

/** A compressed layer in the scale of its outputs y = V x + c (see PlannedLayer). */
export interface CompressedLayer {
  readonly planned: PlannedLayer;
  /** A and B, or one matrix, stacked by groups. */
  readonly factors: readonly Matrix[];
  /** c of each use; undefined where the constants stay. */
  readonly offsets: readonly Float64Array[] | undefined;
}

/** What to write into a model so that its layers are the compressed ones. */
export function rewritingOf(model: OnnxModel, compressed: Iterable<CompressedLayer>): Rewriting {
  const layers = new Map<CnnLayer, LayerReplacement>();
  const batchNormalizations = new Map<BatchNormalization, BatchNormalizationReplacement>();
  for (const { planned, factors, offsets } of compressed) {
    const { layer, outputs } = planned;
    const biases = outputs.map(({ batchNormalization }, use) =>
      batchNormalization || !offsets ? undefined : Float32Array.from(offsets[use]!),
    );
    layers.set(layer, { weight: layerWeight(writtenFactors(planned, factors), layer), biases });
    for (const [use, { batchNormalization, offset }] of outputs.entries()) {
      if (!batchNormalization || !offsets) continue;
      const shift = model.readFloats(batchNormalization.shift.tensor);
      // y = gain W x + offset, of which the shift is a part: the rest of the offset stays.
      const values = shift.map((value, c) => value + offsets[use]![c]! - offset[c]!);
      batchNormalizations.set(batchNormalization, { shift: values });
    }
  }
  return { layers, batchNormalizations };
}

/** Factors in the scale of the node's own outputs. A channel that the model multiplies by zero gets zeros. */
export function writtenFactors({ outputs }: PlannedLayer, factors: readonly Matrix[]): readonly Matrix[] {
  const [a, ...others] = factors as [Matrix, ...Matrix[]];
  const inverse = outputs[0]!.gain.map((value) => (value === 0 ? 0 : 1 / value));
  return [scaledRows(a, inverse), ...others];
}

/** Two factors, or one matrix where there is one, or nothing between the factors. */
function layerWeight(factors: readonly Matrix[], { rows, columns }: CnnLayer): LayerWeight {
  const [a, b] = factors as [Matrix, Matrix | undefined];
  if (!b) return { kind: 'dense', weight: a };
  return b.rows === 0 ? { kind: 'dense', weight: zeros(rows, columns) } : { kind: 'factors', a, b };
}
