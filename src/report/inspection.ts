import type { Checkpoint } from '../formats/checkpoint.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { elementCount } from '../linalg/element-count.js';
import { fastestBuild } from '../runtime/kernels.js';
import { readTunedPlan } from '../runtime/tuned-plan.js';
import { formatBytes, renderTable } from './table.js';

/** What a model on disk consists of, tensor by tensor and in total. */
export interface Inspection {
  readonly path: string;
  readonly format: Checkpoint['format'];
  readonly settings: unknown;
  readonly tensors: readonly InspectedTensor[];
  readonly bytes: number;
  readonly entries: number;
  readonly bitsPerWeight: number;
  /** Of the compressed weights alone, next to fp16 dense and to one sparse matrix of as many nonzeros. */
  readonly compressed?: {
    readonly weights: number;
    readonly entries: number;
    readonly nonzeros: number;
    readonly bytes: number;
    readonly bitsPerWeight: number;
    readonly denseBytes: number;
    readonly singleSparseBytes: number;
  };
  /** What `dsf tune` left beside the model. */
  readonly tuning?: InspectedTuning;
}

interface InspectedTuning {
  /** Products in each representation; absent when the plan is not for this machine or model. */
  readonly plan?: Readonly<Record<string, number>>;
  /** Why it would be ignored. */
  readonly ignored?: string;
}

export interface InspectedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly bytes: number;
  /** Nonzeros of the weight's rows of A, and of B. */
  readonly nonzeros?: readonly number[];
  /** The product that stores it. */
  readonly product?: string;
}

/** From headers alone. */
export function inspect(checkpoint: Checkpoint): Inspection {
  const compression = checkpoint instanceof CompressedCheckpoint ? checkpoint.compression : new Map();
  const tensors = [...checkpoint.tensors.values()]
    .map(({ name, shape, dtype, bytes }): InspectedTensor => {
      const stored = compression.get(name);
      return { name, shape, dtype, bytes, ...(stored && { nonzeros: stored.nonzeros, product: stored.product }) };
    })
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const entries = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const { quantization_config: settings = null } = checkpoint.config;
  const common = {
    path: checkpoint.path,
    format: checkpoint.format,
    settings,
    tensors,
    bytes,
    entries,
    bitsPerWeight: (8 * bytes) / entries,
  };
  if (!(checkpoint instanceof CompressedCheckpoint)) return common;
  const stored = [...checkpoint.compression.values()];
  const nonzeros = [...checkpoint.products.values()].reduce(
    (sum, { counts }) => sum + counts.reduce((a, b) => a + b, 0),
    0,
  );
  const compressedEntries = stored.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const compressedBytes = stored.reduce((sum, each) => sum + each.bytes, 0);
  return {
    ...common,
    compressed: {
      weights: stored.length,
      entries: compressedEntries,
      nonzeros,
      bytes: compressedBytes,
      bitsPerWeight: (8 * compressedBytes) / compressedEntries,
      denseBytes: 2 * compressedEntries,
      singleSparseBytes: 2 * nonzeros + compressedEntries / 8,
    },
    ...inspectedTuning(checkpoint),
  };
}

function inspectedTuning(checkpoint: CompressedCheckpoint): { tuning?: InspectedTuning } {
  const stored = readTunedPlan(checkpoint, fastestBuild());
  if (!stored) return {};
  if ('ignored' in stored) return { tuning: stored };
  const plan: Record<string, number> = {};
  for (const representation of Object.values(stored.tuned.plan)) plan[representation] = (plan[representation] ?? 0) + 1;
  return { tuning: { plan } };
}

export function inspectionTable(inspection: Inspection): string {
  const { path, format, tensors, bytes, bitsPerWeight, compressed, tuning } = inspection;
  const rows = tensors.map(({ name, shape, dtype, bytes: own, nonzeros, product: stored }) => [
    name,
    shape.join('x'),
    dtype,
    formatBytes(own),
    ((8 * own) / elementCount(shape)).toFixed(2),
    nonzeros ? nonzeros.join(' + ') : '',
    stored === undefined ? '' : `  ${stored}`,
  ]);
  const lines = [
    renderTable(['tensor', 'shape', 'type', 'bytes', 'bits/weight', 'nonzeros', '  product'], rows),
    '',
    `${path}: ${format}, ${tensors.length} tensors, ${formatBytes(bytes)}, ${bitsPerWeight.toFixed(2)} bits per weight`,
  ];
  if (compressed) {
    const { weights, nonzeros, entries, bytes: own, denseBytes, singleSparseBytes } = compressed;
    lines.push(
      `compressed: ${weights} weights, ${nonzeros} nonzeros (${((100 * nonzeros) / entries).toFixed(1)} %), ${formatBytes(own)}, ${compressed.bitsPerWeight.toFixed(2)} bits per weight`,
      `the same weights dense in fp16: ${formatBytes(denseBytes)} (${((100 * own) / denseBytes).toFixed(1)} %); as one sparse matrix each of as many nonzeros: ${formatBytes(singleSparseBytes)}`,
    );
  }
  if (tuning?.plan) {
    const parts = Object.entries(tuning.plan).map(([representation, products]) => `${products} ${representation}`);
    lines.push(`tuned for this machine: ${parts.join(', ')}`);
  } else if (tuning?.ignored !== undefined) lines.push(tuning.ignored);
  return lines.join('\n');
}
