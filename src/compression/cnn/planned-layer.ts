import { DoubleSparseError } from '../../errors.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { type Matrix, rowsOf, zeros } from '../../linalg/matrix.js';
import { findLayers } from '../../models/cnn/find-layers.js';
import { indexGraph } from '../../models/cnn/graph-index.js';
import type { CnnLayer, KeptLayer } from '../../models/cnn/layer.js';
import { type LayerOutput, layerOutput } from '../../models/cnn/layer-output.js';
import { secondFactors } from '../../models/cnn/stored-layers.js';
import { unpackConstants } from '../../models/cnn/unpack-constants.js';
import { readLayerWeight } from '../../models/cnn/weight-layout.js';
import { namePattern } from '../name-pattern.js';

/** A layer that will be compressed, as the linear map from its inputs to what is not linear any more. */
export interface PlannedLayer {
  readonly layer: CnnLayer;
  readonly outputs: readonly LayerOutput[];
  /** diag(gain) W, rows x columns: errors of its outputs count as they reach the next layers. */
  readonly weight: Matrix;
  /** May the constant that is added to the outputs be chosen, in every use? */
  readonly centered: boolean;
  readonly entries: number;
}

export interface CnnPlan {
  /** In the order of execution. */
  readonly layers: readonly PlannedLayer[];
  readonly kept: readonly KeptLayer[];
  /** Weights of the layers that are compressed. */
  readonly entries: number;
}

/** 2 GiB: what the covariances of one layer's inputs may take; methods need a few times as much. */
const maximumStatisticsBytes = 2 ** 31;

/** Bytes of the covariances of a layer's inputs, of every use and group: fp32, inputs x inputs. */
export function statisticsBytes({ uses, groups, columns }: CnnLayer): number {
  return uses.length * groups * columns ** 2 * 4;
}

export interface CnnPlanOptions {
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

/**
 * Decides for each layer of a model whether it is compressed.
 * @throws DoubleSparseError `file-unsupported` for a model without any or one that is compressed already, `option-out-of-range` when include and exclude
 *   leave nothing or a pattern matches nothing, `non-finite-value` naming the layer; those of {@link findLayers}
 */
export function planCnn(model: OnnxModel, { include, exclude }: CnnPlanOptions): CnnPlan {
  const { layers: found, kept } = findLayers(model);
  refuseCompressed(model, found);
  if (found.length === 0) throw nothingFound(model, kept);
  refuseIdlePatterns(include, found, kept);
  // What stays as it is anyway, is excluded as wanted.
  refuseIdlePatterns(exclude, [...found, ...kept]);
  const [included, excluded] = [include.map(namePattern), exclude.map(namePattern)];
  const takes = ({ name }: CnnLayer): boolean =>
    included.some((test) => test(name)) && !excluded.some((test) => test(name));
  const wide = (layer: CnnLayer): boolean => statisticsBytes(layer) > maximumStatisticsBytes;
  const index = indexGraph(model);
  const taken = found.filter(takes);
  const layers = taken
    .filter((layer) => !wide(layer))
    .map((layer): PlannedLayer => {
      const alone = layer.uses.length === 1;
      const outputs = layer.uses.map((use) => layerOutput(model, index, layer, use, alone));
      const weight = readLayerWeight(model, layer);
      return {
        layer,
        outputs,
        weight: scaledRows(weight, (outputs[0] as LayerOutput).gain),
        centered: outputs.every(({ offsetIsFree }) => offsetIsFree),
        entries: layer.rows * layer.columns,
      };
    });
  const tooWide = taken.filter(wide).map((layer) => keptLayer(layer, tooWideReason(layer)));
  if (layers.length === 0 && tooWide.length > 0) throw nothingFound(model, tooWide);
  if (layers.length === 0) {
    throw new DoubleSparseError('option-out-of-range', 'include and exclude leave no layer to compress', {
      data: { include, exclude },
      hint: 'dsf inspect MODEL lists the names',
    });
  }
  const left = found.filter((layer) => !takes(layer));
  return {
    layers,
    kept: [...kept, ...tooWide, ...left.map((layer) => keptLayer(layer, 'not included'))],
    entries: layers.reduce((sum, { entries }) => sum + entries, 0),
  };
}

/** diag(factors) W. */
export function scaledRows({ rows, columns, data }: Matrix, factors: ArrayLike<number>): Matrix {
  const result = zeros(rows, columns);
  for (let i = 0, at = 0; i < rows; i++)
    for (let j = 0; j < columns; j++, at++) result.data[at] = (factors[i] as number) * (data[at] as number);
  return result;
}

/** The rows of a stacked matrix that belong to a group. */
export function groupRows(matrix: Matrix, groups: number, group: number): Matrix {
  const count = matrix.rows / groups;
  return rowsOf(matrix, group * count, count);
}

function keptLayer({ name, kind, rows, columns, uses }: CnnLayer, reason: string): KeptLayer {
  const opType = { conv: 'Conv', matmul: 'MatMul', gemm: 'Gemm' }[kind];
  const output = uses[0]?.output ?? '';
  return { name, opType, output, channels: rows, parameters: rows * columns, reason };
}

function tooWideReason(layer: CnnLayer): string {
  const gibibytes = (statisticsBytes(layer) / 2 ** 30).toFixed(1);
  return `the covariance of its ${layer.columns} inputs would take ${gibibytes} GiB, 2 are allowed`;
}

/** Of the factors of a weight, one would be taken for its outputs; and packed ones for no weights at all. */
function refuseCompressed(model: OnnxModel, layers: readonly CnnLayer[]): void {
  const [packed] = unpackConstants(model).packed.keys();
  const [factor] = secondFactors(layers).keys();
  const found = packed ?? factor?.weight.name;
  if (found === undefined) return;
  const what = packed === undefined ? 'is a factor of a weight' : 'is stored as nonzeros and a bitmask';
  throw new DoubleSparseError('file-unsupported', `${model.path} is compressed already: ${found} ${what}`, {
    data: { path: model.path, tensor: found },
    hint: 'compress the model that it was made from, at a higher sparsity',
  });
}

function nothingFound(model: OnnxModel, kept: readonly KeptLayer[]): DoubleSparseError {
  const reasons = kept.slice(0, 3).map(({ name, reason }) => `${name}: ${reason}`);
  const because = reasons.length > 0 ? ` (${reasons.join('; ')})` : '';
  return new DoubleSparseError(
    'file-unsupported',
    `${model.path} has no convolution or matrix product to compress${because}`,
    {
      data: { path: model.path, kept: kept.length },
      hint: 'convolutions and matrix products with constant float weights are compressed',
    },
  );
}

/** A pattern without any match is a slip of the pen: what it was meant for would be treated otherwise, unnoticed. */
function refuseIdlePatterns(
  patterns: readonly string[],
  layers: readonly { readonly name: string }[],
  kept: readonly KeptLayer[] = [],
): void {
  for (const pattern of patterns) {
    const matches = namePattern(pattern);
    if (pattern === '*' || layers.some(({ name }) => matches(name))) continue;
    const [node] = kept.filter(({ name }) => matches(name));
    const problem = node ? `only what is not compressed: ${node.name}: ${node.reason}` : 'no layer';
    throw new DoubleSparseError('option-out-of-range', `the pattern ${pattern} matches ${problem}`, {
      data: { pattern, layers: layers.slice(0, 20).map(({ name }) => name) },
      hint: 'dsf compress MODEL --out FILE --dry-run lists the layers; * stands for any characters',
    });
  }
}
