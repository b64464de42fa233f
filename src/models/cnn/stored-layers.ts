import { bytesPerFloat, type FloatType } from '../../formats/dtype.js';
import type { OnnxModel } from '../../formats/onnx/model.js';
import { elementCount } from '../../linalg/element-count.js';
import { countNonzeros } from '../../linalg/matrix.js';
import type { WeightFormat } from './additions.js';
import { findLayers } from './find-layers.js';
import type { CnnLayer, KeptLayer, LayerUse } from './layer.js';
import { unpackConstants } from './unpack-constants.js';
import { readLayerWeight } from './weight-layout.js';

/** A matrix of a layer as it lies in a file. */
export interface StoredPart {
  /** The weight itself, or a factor of it. */
  readonly part: 'W' | 'B' | 'A';
  /** Its nodes, as a layer by itself. */
  readonly layer: CnnLayer;
  /** Shape of its tensor. */
  readonly shape: readonly number[];
  readonly type: FloatType;
  readonly format: WeightFormat;
  readonly nonzeros: number;
  /** Bytes of the values, of a packed one also of bitmask and operators. */
  readonly bytes: number;
}

/** A layer of a model, dense or compressed. */
export interface StoredLayer {
  readonly name: string;
  readonly kind: CnnLayer['kind'];
  /** Shape of the whole weight as a matrix, see {@link CnnLayer}. */
  readonly rows: number;
  readonly columns: number;
  readonly groups: number;
  /** W, or B and A. */
  readonly parts: readonly StoredPart[];
}

/**
 * What became of the layers of a model: those of {@link findLayers}, packed weights among them; two that
 * {@link rewriteModel} made of one are one.
 * @throws DoubleSparseError those of {@link findLayers} and of reading tensors
 */
export function findStoredLayers(model: OnnxModel): { readonly layers: StoredLayer[]; readonly kept: KeptLayer[] } {
  const { model: plain, packedBytes } = unpackConstants(model);
  const { layers, kept } = findLayers(plain);
  const partOf = (part: StoredPart['part'], layer: CnnLayer): StoredPart => {
    const { shape, storedType, name } = layer.weight;
    const packed = packedBytes.get(name);
    return {
      part,
      layer,
      shape,
      type: storedType,
      format: packed === undefined ? 'plain' : 'packed',
      nonzeros: countNonzeros(readLayerWeight(plain, layer)),
      bytes: packed ?? elementCount(shape) * bytesPerFloat(storedType),
    };
  };
  const seconds = secondFactors(layers);
  const paired = new Set(seconds.values());
  const stored = layers
    .filter((layer) => !paired.has(layer))
    .map((layer): StoredLayer => {
      const { kind, columns, groups } = layer;
      const second = seconds.get(layer);
      const { rows } = second ?? layer;
      const parts = second ? [partOf('B', layer), partOf('A', second)] : [partOf('W', layer)];
      const name = second ? (factorName(layer)?.name ?? layer.name) : layer.name;
      return { name, kind, rows, columns, groups, parts };
    });
  return { layers: stored, kept };
}

/** A, by B: two layers that {@link rewriteModel} made of one. */
export function secondFactors(layers: readonly CnnLayer[]): Map<CnnLayer, CnnLayer> {
  const seconds = new Map<CnnLayer, CnnLayer>();
  const byInput = new Map(
    layers.filter((layer) => factorName(layer)?.part === 'A').map((layer) => [firstUse(layer).input, layer]),
  );
  for (const layer of layers) {
    const name = factorName(layer);
    const second = name?.part === 'B' ? byInput.get(firstUse(layer).output) : undefined;
    const fits = second?.kind === layer.kind && second.groups === layer.groups;
    if (second && fits && second.columns * layer.groups === layer.rows && factorName(second)?.name === name?.name)
      seconds.set(layer, second);
  }
  return seconds;
}

const firstUse = ({ uses }: CnnLayer): LayerUse => uses[0] as LayerUse;

/** Which factor of which layer a name is, as rewriting names nodes. */
function factorName({ name }: CnnLayer): { name: string; part: 'A' | 'B' } | undefined {
  const match = /^(.*)\/([AB])(?:\.\d+)?$/s.exec(name);
  return match ? { name: match[1] as string, part: match[2] as 'A' | 'B' } : undefined;
}
