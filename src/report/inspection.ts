import type { Checkpoint } from '../formats/checkpoint.js';
import { CompressedCheckpoint } from '../formats/container/checkpoint.js';
import { elementCount } from '../linalg/element-count.js';
import { fastestBuild } from '../runtime/kernels.js';
import type { Representation, RepresentationPlan } from '../runtime/representation.js';
import { readTunedPlan } from '../runtime/tuned-plan.js';
import { byteTable, type FileBytes, splitBytes } from './byte-split.js';
import { formatBytes, renderTable } from './table.js';

/** What a model on disk consists of, tensor by tensor and in total. */
export interface Inspection {
  readonly path: string;
  readonly format: Checkpoint['format'];
  readonly settings: unknown;
  readonly tensors: readonly InspectedTensor[];
  /** Of the files of weights. */
  readonly files: FileBytes;
  readonly entries: number;
  /** Of the files, headers included. */
  readonly bitsPerWeight: number;
  /** Of the compressed weights alone, next to fp16 dense and to one sparse matrix of as many nonzeros. */
  readonly compressed?: {
    readonly weights: number;
    readonly entries: number;
    readonly nonzeros: number;
    readonly bytes: number;
    readonly bitsPerWeight: number;
    readonly denseBytes: number;
    readonly denseBitsPerWeight: number;
    readonly singleSparseBytes: number;
    readonly singleSparseBitsPerWeight: number;
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
  /** How that runs on this machine, where `dsf tune` left a plan for it. */
  readonly representation?: Representation;
}

/** From headers alone. */
export function inspect(checkpoint: Checkpoint): Inspection {
  const compressed = checkpoint instanceof CompressedCheckpoint ? checkpoint : undefined;
  const { plan, tuning } = compressed ? readTuning(compressed) : {};
  const tensors = [...checkpoint.tensors.values()]
    .map(({ name, shape, dtype, bytes }): InspectedTensor => {
      const stored = compressed?.compression.get(name);
      const representation = stored && plan?.[stored.product];
      return {
        name,
        shape,
        dtype,
        bytes,
        ...(stored && { nonzeros: stored.nonzeros, product: stored.product }),
        ...(representation && { representation }),
      };
    })
    .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  const files = splitBytes(checkpoint);
  const entries = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const { quantization_config: settings = null } = checkpoint.config;
  const common = {
    path: checkpoint.path,
    format: checkpoint.format,
    settings,
    tensors,
    files,
    entries,
    bitsPerWeight: (8 * files.bytes) / entries,
  };
  if (!compressed) return common;
  const stored = [...compressed.compression.values()];
  const nonzeros = [...compressed.products.values()].reduce(
    (sum, { counts }) => sum + counts.reduce((a, b) => a + b, 0),
    0,
  );
  const compressedEntries = stored.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const singleSparseBytes = 2 * nonzeros + Math.ceil(compressedEntries / 8);
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
      denseBitsPerWeight: 16,
      singleSparseBytes,
      singleSparseBitsPerWeight: (8 * singleSparseBytes) / compressedEntries,
    },
    ...(tuning && { tuning }),
  };
}

function readTuning(checkpoint: CompressedCheckpoint): { plan?: RepresentationPlan; tuning?: InspectedTuning } {
  const stored = readTunedPlan(checkpoint, fastestBuild());
  if (!stored) return {};
  if ('ignored' in stored) return { tuning: stored };
  const { plan } = stored.tuned;
  const products: Record<string, number> = {};
  for (const representation of Object.values(plan)) products[representation] = (products[representation] ?? 0) + 1;
  return { plan, tuning: { plan: products } };
}

export function inspectionTable(inspection: Inspection): string {
  const { path, format, tensors, files, bitsPerWeight, compressed, tuning } = inspection;
  const rows = tensors.map(({ name, shape, dtype, bytes: own, nonzeros, product: stored, representation }) => [
    name,
    shape.join('x'),
    dtype,
    formatBytes(own),
    ((8 * own) / elementCount(shape)).toFixed(2),
    nonzeros ? nonzeros.join(' + ') : '',
    stored === undefined ? '' : `  ${stored}`,
    ...(tuning?.plan ? [representation === undefined ? '' : `  ${representation}`] : []),
  ]);
  const header = ['tensor', 'shape', 'type', 'bytes', 'bits/weight', 'nonzeros', '  product'];
  const lines = [
    renderTable(tuning?.plan ? [...header, '  runs as'] : header, rows),
    '',
    byteTable(files),
    '',
    `${path}: ${format}, ${tensors.length} tensors, ${formatBytes(files.bytes)} (${files.bytes} bytes), ${bitsPerWeight.toFixed(2)} bits per weight`,
  ];
  if (compressed) {
    const { weights, nonzeros, entries, bytes: own, denseBytes, singleSparseBytes } = compressed;
    lines.push(
      `compressed: ${weights} weights, ${nonzeros} nonzeros (${((100 * nonzeros) / entries).toFixed(1)} %), ${formatBytes(own)}, ${compressed.bitsPerWeight.toFixed(2)} bits per weight`,
      `the same weights dense in fp16: ${formatBytes(denseBytes)}, ${compressed.denseBitsPerWeight} bits per weight (${((100 * own) / denseBytes).toFixed(1)} % of it are left); as one sparse matrix each of as many nonzeros, with bitmasks: ${formatBytes(singleSparseBytes)}, ${compressed.singleSparseBitsPerWeight.toFixed(2)}`,
    );
  }
  if (tuning?.plan) {
    const parts = Object.entries(tuning.plan).map(([representation, products]) => `${products} ${representation}`);
    lines.push(`tuned for this machine: ${parts.join(', ')}`);
  } else if (tuning?.ignored !== undefined) lines.push(tuning.ignored);
  return lines.join('\n');
}
