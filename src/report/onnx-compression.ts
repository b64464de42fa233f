import type { CnnEvent, CnnLayerResult } from '../compression/cnn/cnn-run.js';
import type { OnnxCompressionResult } from '../compression/cnn/compress-onnx.js';
import type { CnnDryRun } from '../compression/cnn/dry-run.js';
import type { CnnCompressOptions } from '../compression/cnn/options.js';
import { elementCount } from '../linalg/element-count.js';
import type { KeptLayer } from '../models/cnn/layer.js';
import { parityTable } from './image-evaluation.js';
import type { OnnxInspection } from './onnx-inspection.js';
import { formatBytes, formatError, formatSeconds, renderTable } from './table.js';

const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;

/** One line for a finished layer. */
export function cnnLayerLine({ done, total, layer, seconds }: Extract<CnnEvent, { kind: 'layer' }>): string {
  const { name, method, nonzeros, relativeError, reason } = layer;
  return [
    `[${String(done).padStart(String(total).length)}/${total}] ${name} ${shapeOf(layer)}`,
    ...(method === undefined
      ? [`kept: ${reason}`]
      : [method, `nnz ${percent(nonzeros, layer.rows * layer.columns)}`, `error ${formatError(relativeError)}`]),
    formatSeconds(seconds),
  ].join('  ');
}

const shapeOf = ({ rows, columns, groups }: Pick<CnnLayerResult, 'rows' | 'columns' | 'groups'>): string =>
  `${rows}x${columns}${groups > 1 ? ` in ${groups} groups` : ''}`;

/** Totals of a run, for people. */
export function cnnSummary(result: OnnxCompressionResult, out: string): string {
  const { layers, kept, entries, nonzeros, multiplyAdds, denseMultiplyAdds, bytes, denseBytes } = result;
  const methods = new Map<string, number>();
  for (const { method } of layers) if (method) methods.set(method, (methods.get(method) ?? 0) + 1);
  const dense = layers.filter(({ method }) => method === undefined);
  const others = layers.filter(({ method, reason }) => method !== undefined && reason !== undefined);
  const plain = result.weights.filter(({ reason, nonzeros: own, shape }) => reason && own < elementCount(shape));
  return [
    '',
    `${out}: ${formatBytes(denseBytes)} -> ${formatBytes(bytes)} (${percent(bytes, denseBytes)})`,
    `layers: ${[...methods].map(([method, count]) => `${count} ${method}`).join(', ') || 'none compressed'}`,
    `nonzeros: ${nonzeros} of ${entries} weights (${percent(nonzeros, entries)})`,
    `multiply-adds an image: ${formatCount(denseMultiplyAdds)} -> ${formatCount(multiplyAdds)} (${percent(multiplyAdds, denseMultiplyAdds)})`,
    ...dense.map(({ name, reason }) => `kept dense: ${name}: ${reason}`),
    ...others.map(({ name, method, reason }) => `${method} in place of another method: ${name}: ${reason}`),
    ...keptLines(kept),
    ...plain.map(({ name, reason }) => `stored with its zeros: ${name}: ${reason}`),
    ...verifiedLines(result),
    `${formatSeconds(result.seconds)}, ${result.images} calibration images, ${result.engine}; peak memory ${formatBytes(result.peakMemoryBytes)}`,
  ].join('\n');
}

function verifiedLines({ parity, notCompared }: OnnxCompressionResult): string[] {
  const others = notCompared.map(({ name, reason }) => `not compared: output ${name}: ${reason}`);
  if (Object.keys(parity).length === 0) return ['loaded by onnxruntime; no output could be compared', ...others];
  return [
    'verified: loaded by onnxruntime, outputs equal to those of the factors',
    ...others,
    'outputs next to those of the source, on calibration images:',
    parityTable(parity),
  ];
}

const keptLines = (kept: readonly KeptLayer[]): string[] =>
  kept.map(({ name, opType, reason }) => `kept: ${name} (${opType}): ${reason}`);

export function formatCount(value: number): string {
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} k`;
  return value < 1e9 ? `${(value / 1e6).toFixed(1)} M` : `${(value / 1e9).toFixed(2)} G`;
}

/** What a compression would make. @param inspection tells the multiply-adds of the model as it is. */
export function cnnDryRunTable(
  { layers, kept, entries, nonzeros, denseBytes, bytes }: CnnDryRun,
  { method, allocate, format }: CnnCompressOptions,
  { multiplyAdds, uncounted }: Pick<OnnxInspection, 'multiplyAdds' | 'uncounted'>,
): string {
  const rows = layers.map((layer) => [
    layer.name,
    shapeOf(layer),
    method,
    String(layer.entries),
    String(layer.nonzeros),
  ]);
  const left = kept.map(({ name, parameters, reason }) => [name, '', 'kept', String(parameters), '', `  ${reason}`]);
  return [
    renderTable(['layer', 'shape', 'method', 'weights', 'nonzeros', '  '], [...rows, ...left]),
    '',
    `${layers.length} layers with ${entries} weights, of which ${nonzeros} nonzeros would stay${
      allocate === 'uniform'
        ? ''
        : '; layer by layer with --allocate uniform, else errors decide, once they are measured'
    }`,
    `file, ${format}: ${formatBytes(denseBytes)} -> about ${formatBytes(bytes.single)} with one matrix a layer, ${formatBytes(bytes.factors)} with two factors`,
    multiplyAdds
      ? `multiply-adds before, for an input of ${multiplyAdds.input.join('x')}: ${formatCount(multiplyAdds.stored)}`
      : `multiply-adds before are not counted: ${uncounted}`,
  ].join('\n');
}
