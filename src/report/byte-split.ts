import { statSync } from 'node:fs';
import type { Checkpoint } from '../formats/checkpoint.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { bytesPerFloat } from '../formats/dtype.js';
import { SafetensorsCheckpoint } from '../formats/safetensors/checkpoint.js';
import { elementCount } from '../linalg/element-count.js';
import { formatBytes, renderTable } from './table.js';

/** What bytes of a model's files are for. */
export interface ByteSplit {
  /** Values of sparse factors. */
  readonly values: number;
  /** Where they are: one bit a position, or four bits a gap. */
  readonly bitmasks: number;
  readonly gaps: number;
  /** Tensors that are kept as they were. */
  readonly kept: number;
}

export interface LayerBytes extends ByteSplit {
  /** As tensors begin, such as model.layers.3; `rest` for those of no layer. */
  readonly layer: string;
  readonly bytes: number;
  /** Weights of the model as it was. */
  readonly entries: number;
  readonly bitsPerWeight: number;
}

/** The files of weights, to the last byte. */
export interface FileBytes extends ByteSplit {
  /** Of the files together: the parts below, and headers. */
  readonly bytes: number;
  /** Names, shapes, the description of products, what fills up to whole addresses. */
  readonly headers: number;
  readonly layers: readonly LayerBytes[];
}

const outside = 'rest';

/** @param checkpoint any; a dense one has kept tensors and headers alone. */
export function splitBytes(checkpoint: Checkpoint): FileBytes {
  const layers = new Map<string, { -readonly [part in keyof ByteSplit]: number } & { entries: number }>();
  const layerOf = (name: string) => {
    const layer = /^(.*?layers\.\d+)\./.exec(name)?.[1] ?? outside;
    const found = layers.get(layer) ?? { values: 0, bitmasks: 0, gaps: 0, kept: 0, entries: 0 };
    layers.set(layer, found);
    return found;
  };
  const compressed = checkpoint instanceof CompressedCheckpoint ? checkpoint : undefined;
  for (const { name, shape, bytes } of checkpoint.tensors.values()) {
    const layer = layerOf(name);
    layer.entries += elementCount(shape);
    if (!compressed?.compression.has(name)) layer.kept += bytes;
  }
  for (const { members, counts, dtype, supports } of compressed?.products.values() ?? []) {
    const layer = layerOf(members[0]!.weight);
    for (const count of counts) layer.values += count * bytesPerFloat(dtype);
    for (const { form, bytes } of supports) layer[form === 'bitmask' ? 'bitmasks' : 'gaps'] += bytes;
  }
  const list = [...layers]
    .map(([layer, split]): LayerBytes => {
      const bytes = split.values + split.bitmasks + split.gaps + split.kept;
      return { layer, ...split, bytes, bitsPerWeight: (8 * bytes) / split.entries };
    })
    .sort((a, b) => order(a.layer) - order(b.layer) || a.layer.localeCompare(b.layer, 'en', { numeric: true }));
  const total = (part: keyof ByteSplit): number => list.reduce((sum, layer) => sum + layer[part], 0);
  const split = { values: total('values'), bitmasks: total('bitmasks'), gaps: total('gaps'), kept: total('kept') };
  const bytes = weightFiles(checkpoint).reduce((sum, path) => sum + statSync(path).size, 0);
  const headers = bytes - split.values - split.bitmasks - split.gaps - split.kept;
  return { bytes, headers, ...split, layers: list };
}

const order = (layer: string): number => (layer === outside ? 1 : 0);

function weightFiles(checkpoint: Checkpoint): string[] {
  const stored = checkpoint instanceof CompressedCheckpoint ? checkpoint.stored : checkpoint;
  return stored instanceof SafetensorsCheckpoint ? stored.files.map(({ path }) => path) : [stored.path];
}

/** Layer by layer, and in total. */
export function byteTable({ bytes, headers, layers, ...total }: FileBytes): string {
  const entries = layers.reduce((sum, layer) => sum + layer.entries, 0);
  const cells = ({ values, bitmasks, gaps, kept }: ByteSplit) => [values, bitmasks, gaps, kept].map(shown);
  return renderTable(
    ['layer', 'values', 'bitmasks', 'gaps', 'kept', 'headers', 'bytes', 'bits/weight'],
    [
      ...layers.map((layer) => [
        layer.layer,
        ...cells(layer),
        '',
        formatBytes(layer.bytes),
        layer.bitsPerWeight.toFixed(2),
      ]),
      ['files', ...cells(total), shown(headers), formatBytes(bytes), ((8 * bytes) / entries).toFixed(2)],
    ],
  );
}

const shown = (bytes: number): string => (bytes === 0 ? '' : formatBytes(bytes));
