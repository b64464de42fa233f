import { statSync } from 'node:fs';
import { DoubleSparseError } from '../errors.js';
import type { OnnxModel } from '../formats/onnx/model.js';
import { isExternal, rawTensorSize } from '../formats/onnx/tensor.js';
import { keptMultiplyAdds, layerMultiplyAdds, type TensorShapes } from '../models/cnn/counts.js';
import type { KeptLayer } from '../models/cnn/layer.js';
import { findStoredLayers, type StoredLayer, type StoredPart } from '../models/cnn/stored-layers.js';
import { tensorShapes } from '../models/cnn/tensor-shapes.js';
import { formatBytes, renderTable } from './table.js';

/** Multiply-adds for one input: of dense matrices, and of the nonzeros that are stored. */
export interface MultiplyAdds {
  readonly dense: number;
  readonly stored: number;
}

export interface InspectedOnnxLayer extends Omit<StoredLayer, 'parts'> {
  readonly parts: readonly Omit<StoredPart, 'layer'>[];
  /** Weights of the dense matrix. */
  readonly entries: number;
  readonly nonzeros: number;
  /** nonzeros / entries. */
  readonly density: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  /** Undefined where the sizes of images are not known. */
  readonly multiplyAdds: MultiplyAdds | undefined;
}

/** What an ONNX model consists of, layer by layer and in total. */
export interface OnnxInspection {
  readonly path: string;
  readonly format: 'onnx';
  readonly opset: number;
  readonly layers: readonly InspectedOnnxLayer[];
  /** Nodes with weights that are no such layers, each with the reason; multiply-adds where they can be told. */
  readonly kept: readonly (KeptLayer & { readonly multiplyAdds: number | undefined })[];
  /** Of the files, external data included. */
  readonly fileBytes: number;
  /** Of the layers together. */
  readonly entries: number;
  readonly nonzeros: number;
  readonly density: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  /** Layers and kept ones together, for one input of this shape; undefined where the sizes are not known. */
  readonly multiplyAdds: (MultiplyAdds & { readonly input: readonly number[] }) | undefined;
  /** Why multiply-adds are not known. */
  readonly uncounted: string | undefined;
}

/**
 * A model with operators that onnxruntime lacks is told without multiply-adds.
 * @param inputShape for which multiply-adds are counted (default: what the model says).
 * @throws DoubleSparseError those of {@link findStoredLayers} and {@link tensorShapes}; `shape-mismatch` for an input
 *   shape that the model does not take
 */
export async function inspectOnnx(model: OnnxModel, inputShape?: readonly number[]): Promise<OnnxInspection> {
  const { layers: stored, kept } = findStoredLayers(model);
  const counted = kept.filter(({ channels, output }) => channels !== undefined && output !== '');
  const outputs = [
    ...stored.flatMap(({ parts }) => parts.flatMap(({ layer }) => layer.uses.map(({ output }) => output))),
    ...counted.map(({ output }) => output),
  ];
  const { found, uncounted } = await shapesOf(model, [...new Set(outputs)], inputShape);
  const layers = stored.map((layer) => inspectLayer(layer, found?.shapes));
  const keptLayers = kept.map((layer) => ({ ...layer, multiplyAdds: found && keptMultiplyAdds(layer, found.shapes) }));
  const sum = <T>(list: readonly T[], value: (each: T) => number) =>
    list.reduce((total, each) => total + value(each), 0);
  const [entries, nonzeros, bytes] = [
    sum(layers, (layer) => layer.entries),
    sum(layers, (layer) => layer.nonzeros),
    sum(layers, (layer) => layer.bytes),
  ];
  const ofKept = sum(keptLayers, ({ multiplyAdds }) => multiplyAdds ?? 0);
  return {
    path: model.path,
    format: 'onnx',
    opset: model.opset,
    layers,
    kept: keptLayers,
    fileBytes: statSync(model.path).size + externalBytes(model),
    entries,
    nonzeros,
    density: entries === 0 ? 0 : nonzeros / entries,
    bytes,
    bitsPerWeight: entries === 0 ? 0 : (8 * bytes) / entries,
    multiplyAdds: found && {
      input: found.input,
      dense: ofKept + sum(layers, ({ multiplyAdds }) => multiplyAdds?.dense ?? 0),
      stored: ofKept + sum(layers, ({ multiplyAdds }) => multiplyAdds?.stored ?? 0),
    },
    uncounted,
  };
}

/** Only multiply-adds need a model that can be run. */
async function shapesOf(
  model: OnnxModel,
  names: readonly string[],
  inputShape: readonly number[] | undefined,
): Promise<{ found?: Awaited<ReturnType<typeof tensorShapes>>; uncounted?: string }> {
  const inputs = model.inputs.filter(({ message }) => !model.initializers.has(message.name));
  if (inputs.length !== 1) {
    const list = inputs.map(({ message }) => message.name).join(', ');
    return { uncounted: `the model has ${inputs.length} inputs (${list}), they are counted where there is one` };
  }
  try {
    const found = await tensorShapes(model, names, inputShape);
    return found ? { found } : { uncounted: 'they depend on the size of the input: give it with --input-shape' };
  } catch (error) {
    if (!(error instanceof DoubleSparseError)) throw error;
    // What is wrong with the model is an error; what onnxruntime lacks is not.
    if (error.code === 'engine-unavailable' || error.data.operator !== undefined) return { uncounted: error.message };
    if (inputShape === undefined || error.code !== 'shape-mismatch') throw error;
    throw new DoubleSparseError(error.code, error.message, {
      data: error.data,
      hint: 'give another --input-shape: all sizes of the input, that of the batch first',
      cause: error,
    });
  }
}

function inspectLayer({ parts, ...layer }: StoredLayer, shapes: TensorShapes | undefined): InspectedOnnxLayer {
  const entries = layer.rows * layer.columns;
  const nonzeros = parts.reduce((total, part) => total + part.nonzeros, 0);
  const bytes = parts.reduce((total, part) => total + part.bytes, 0);
  const last = parts.at(-1) as StoredPart;
  return {
    ...layer,
    parts: parts.map(({ layer: _, ...part }) => part),
    entries,
    nonzeros,
    density: nonzeros / entries,
    bytes,
    bitsPerWeight: (8 * bytes) / entries,
    multiplyAdds: shapes && {
      dense: layerMultiplyAdds(last.layer, entries, shapes),
      stored: parts.reduce((total, part) => total + layerMultiplyAdds(part.layer, part.nonzeros, shapes), 0),
    },
  };
}

function externalBytes(model: OnnxModel): number {
  const external = [...model.initializers.values()].filter(({ message }) => isExternal(message));
  return external.reduce((sum, { message }) => sum + (rawTensorSize(message, model) ?? 0), 0);
}

export function onnxInspectionText(inspection: OnnxInspection): string {
  const { path, opset, layers, kept, fileBytes, entries, nonzeros, density, bytes, bitsPerWeight } = inspection;
  const { multiplyAdds, uncounted } = inspection;
  const millions = (count: number | undefined) => (count === undefined ? '' : (count / 1e6).toFixed(2));
  const table = renderTable(
    ['layer', 'matrix', 'nonzeros', 'density', 'bytes', 'bits/weight', 'M multiply-adds', 'dense', '  stored as'],
    layers.map((layer) => [
      layer.name,
      `${layer.groups > 1 ? `${layer.groups} x ` : ''}${layer.rows / layer.groups}x${layer.columns}`,
      layer.parts.map((part) => part.nonzeros).join(' + '),
      `${(100 * layer.density).toFixed(1)} %`,
      formatBytes(layer.bytes),
      layer.bitsPerWeight.toFixed(2),
      millions(layer.multiplyAdds?.stored),
      millions(layer.multiplyAdds?.dense),
      `  ${layer.parts.map(partText).join(', ')}`,
    ]),
  );
  const keptTable = renderTable(
    ['kept', 'operator', 'weights', 'M multiply-adds', '  because'],
    kept.map(({ name, opType, parameters, multiplyAdds: own, reason }) => [
      name,
      opType,
      parameters === 0 ? '' : `${parameters}`,
      millions(own),
      `  ${reason}`,
    ]),
  );
  const lines = [
    ...(layers.length > 0 ? [table, ''] : []),
    ...(kept.length > 0 ? [keptTable, ''] : []),
    `${path}: ONNX with operators of version ${opset}, ${formatBytes(fileBytes)}; ${layers.length} layers, ${kept.length} kept as they are`,
    `layers: ${entries} weights, ${nonzeros} nonzeros (${(100 * density).toFixed(1)} %), ${formatBytes(bytes)}, ${bitsPerWeight.toFixed(2)} bits per weight`,
    multiplyAdds
      ? `multiply-adds for an input of ${multiplyAdds.input.join('x')}, kept ones included: ${millions(multiplyAdds.stored)} M with nonzeros alone, ${millions(multiplyAdds.dense)} M dense`
      : `multiply-adds are not counted: ${uncounted}`,
  ];
  return lines.join('\n');
}

const partText = ({ part, shape, type, format }: Omit<StoredPart, 'layer'>): string =>
  `${part} ${shape.join('x')} ${format} ${type}`;
